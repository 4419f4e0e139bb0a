"""`search:` of a spec: which settings are tried, how they are chosen, by what they are judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nnopt.spec.base import Spec, mistake_at
from nnopt.spec.search.domains import AnyDomain
from nnopt.spec.search.limits import Against, LimitsSpec
from nnopt.spec.search.pruners import PRUNERS, PrunerSpec
from nnopt.spec.search.samplers import SAMPLERS, Grid, QuasiRandom, SamplerSpec
from nnopt.spec.seeds import SEEDS_END, SeedsSpec

DEFAULT_TRIALS = 20
MAX_KEYS = 100


class ObjectiveSpec(Spec):
    """What a trial is judged by: a number a run, averaged over the trial's seeds."""

    metric: str | None = Field(
        None,
        description="column of metrics.csv (its last value), best_<column>, or a quantity of the whole run; "
        "default the column that names the best weights",
    )
    direction: Literal["maximise", "minimise"] | None = Field(None, description="default as the metric is meant")
    against: Against | None = Field(
        None,
        description="a second objective, the less the better: the search then finds a Pareto front, not one winner",
    )


class ConfirmSpec(Spec):
    """The winners, trained again on seeds that no trial used: only these are reported."""

    seeds: SeedsSpec = Field(
        5, description="a count (those that follow the trials' seeds) or a list of seeds that no trial uses"
    )
    at_most: int = Field(
        5, ge=1, description="members of a Pareto front (objective.against), spread from the cheapest to the dearest"
    )


class SearchSpec(Spec):
    """Which settings are tried for each variant, how they are chosen, by what they are judged."""

    _filled: frozenset[str] = PrivateAttr(frozenset())

    space: dict[str, AnyDomain] = Field(
        max_length=MAX_KEYS,
        description="dotted key -> its values: a log, range, int or choice; a variant's own space replaces this one",
    )
    sampler: Annotated[SamplerSpec, SAMPLERS] = Field(
        QuasiRandom(kind="quasi_random"), description="how settings are proposed"
    )
    trials: int | None = Field(
        None, ge=1, le=100_000, description="settings of each variant; default 20, of a grid all its points"
    )
    seeds_per_trial: SeedsSpec = Field(
        1, description="runs of each setting: a count (2 is seeds 0, 1) or a list of seeds"
    )
    objective: ObjectiveSpec = Field(ObjectiveSpec(), description="what a trial is judged by")
    limits: LimitsSpec = Field(LimitsSpec(), description="what a network may take at most; default anything")
    prune: Annotated[PrunerSpec, PRUNERS] | None = Field(None, description="when a trial is cut short; default never")
    confirm: ConfirmSpec | None = Field(ConfirmSpec(), description="winners again on fresh seeds; null: not")
    at_once: int = Field(
        4,
        ge=1,
        description="trials of a variant that may be in hand at once where results steer the search: each knows those "
        "before the last so many, whatever --jobs, so that the same trials come out",
    )

    @field_validator("space", mode="before")
    @classmethod
    def _keys_are_dotted(cls, space: Any) -> Any:
        if space == {}:
            raise PydanticCustomError("space", "names no key; write such as {optimizer.lr: {log: [1.0e-4, 1]}}")
        for key, domain in space.items() if isinstance(space, dict) else ():
            inner = next(iter(domain.items()), None) if isinstance(domain, dict) else None
            if inner and isinstance(inner[1], dict) and not set(domain) & {"log", "range", "int", "choice"}:
                advice = f"write the whole key with dots: {key}.{inner[0]}: {{...}}"
                raise mistake_at((key,), f"is a mapping of keys; {advice}")
        return space

    @property
    def trial_seeds(self) -> tuple[int, ...]:
        """The seeds of every trial."""
        given = self.seeds_per_trial
        return tuple(range(given)) if isinstance(given, int) else given

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        """The seeds of the winners, none of them a trial's; () where winners are not confirmed."""
        if self.confirm is None:
            return ()
        given, after = self.confirm.seeds, max(self.trial_seeds) + 1
        return tuple(range(after, after + given)) if isinstance(given, int) else given

    @property
    def steers(self) -> bool:
        """Whether results of earlier trials decide on later ones: a sampler that learns, or pruning."""
        return self.sampler.learns or self.prune is not None

    @property
    def filled(self) -> frozenset[str]:
        """Searched keys that the file leaves out: reading it gave them the middle of their domain."""
        return self._filled

    def with_filled(self, keys: Iterable[str]) -> SearchSpec:
        """The same search, knowing that `keys` were filled in."""
        copy = self.model_copy()
        copy._filled = frozenset(keys)
        return copy

    @model_validator(mode="after")
    def _confirmed_on_fresh_seeds(self) -> SearchSpec:
        used = sorted(set(self.trial_seeds) & set(self.confirm_seeds))
        if used:
            raise mistake_at(("confirm", "seeds"), f"the seed {used[0]} is one of the trials': winners need fresh ones")
        if self.confirm_seeds and max(self.confirm_seeds) >= SEEDS_END:
            raise mistake_at(("confirm", "seeds"), "no seeds are left after the trials': list those to take")
        return self


__all__ = ["DEFAULT_TRIALS", "ConfirmSpec", "Grid", "LimitsSpec", "ObjectiveSpec", "SearchSpec"]
