"""`structure.prune`: which weights, channels or neurons are removed, when, and what follows."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from nnopt.spec.base import Kinds, KindSpec, Spec, mistake_at, show
from nnopt.spec.structure.layers import ReachesLayersByKind

if TYPE_CHECKING:
    from nnopt.structure.prune.criteria import Criterion

N_OF_M = re.compile(r"([1-9]\d{0,2}):([1-9]\d{0,2})")


class PruneScheduleSpec(KindSpec):
    """When how much is removed, in shares of the budget."""

    @property
    @abstractmethod
    def points(self) -> tuple[tuple[float, float], ...]:
        """The share of the budget at which each removal happens, and the part of the amount removed from then on.

        Shares rise; the last part is 1.
        """

    def amounts(self, amount: float) -> tuple[tuple[float, float], ...]:
        """The shares of the budget, each with the share of what is prunable that is gone from then on.

        The last is `amount` itself.
        """
        return tuple((at, part * amount) for at, part in self.points)


class OneShot(PruneScheduleSpec):
    """All at once."""

    kind: Literal["one_shot"]
    at: float = Field(0.5, ge=0, le=1, description="share of the budget; 0 is before training, 1 after it")

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """As the base class says."""
        return ((self.at, 1.0),)


class _Stretch(PruneScheduleSpec):
    start: float = Field(0.2, ge=0, lt=1, description="share of the budget at the first removal")
    end: float = Field(0.7, gt=0, le=1, description="share of the budget at the last")

    @model_validator(mode="after")
    def _rises(self) -> _Stretch:
        if self.start >= self.end:
            raise ValueError(f"start should lie before end, and {self.start:g} is not below {self.end:g}")
        return self

    def _places(self, times: int) -> list[float]:
        width = self.end - self.start
        return [self.start + width * index / (times - 1) for index in range(times)]


class Iterative(_Stretch):
    """Several times, each removing the same share of what is left, with training in between."""

    formula: ClassVar[str] = "after k of n removals 1 − (1 − a)^(k/n) is gone"
    source: ClassVar[str] = "Han et al. 2015, arXiv:1506.02626; Frankle & Carbin 2019, arXiv:1803.03635"

    kind: Literal["iterative"]
    times: int = Field(5, ge=2, le=1000, description="how many removals")

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """As the base class says; the parts depend on the amount, see `amounts`."""
        return tuple((at, (index + 1) / self.times) for index, at in enumerate(self._places(self.times)))

    def amounts(self, amount: float) -> tuple[tuple[float, float], ...]:
        """As the base class says."""
        # The last power would give the amount but for its rounding.
        return tuple((at, amount if part == 1.0 else 1.0 - (1.0 - amount) ** part) for at, part in self.points)


class Cubic(_Stretch):
    """Little by little, fast at first, as sparsity grows with a cubic curve."""

    formula: ClassVar[str] = "a(t) = a·(1 − (1 − t)³), t from 0 to 1 between start and end"
    source: ClassVar[str] = "Zhu & Gupta 2017, arXiv:1710.01878"

    kind: Literal["cubic"]
    start: float = Field(0.1, ge=0, lt=1, description="share of the budget at the first removal")
    times: int = Field(50, ge=2, le=100_000, description="how many removals")

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """As the base class says; the first removal is the first step of the curve."""
        return tuple(
            (at, 1.0 - (1.0 - (index + 1) / self.times) ** 3) for index, at in enumerate(self._places(self.times))
        )


PRUNE_SCHEDULES = Kinds("schedule of pruning", PruneScheduleSpec, (OneShot, Iterative, Cubic))


class RewindSpec(Spec):
    """What survives a removal goes back to what it was early in training."""

    to: float = Field(0.0, ge=0, lt=1, description="share of the budget whose weights are kept; 0: the initial ones")
    weights: bool = Field(True, description="go back to those weights")
    rate: bool = Field(True, description="the learning rate's schedule goes back too, and runs to its end each time")

    @model_validator(mode="after")
    def _something(self) -> RewindSpec:
        if not (self.weights or self.rate):
            raise ValueError("neither weights nor rate would go back: set one of them, or leave rewind out")
        return self


class PruneSpec(ReachesLayersByKind):
    """A rule that says which weights, or channels and neurons, matter least: those are removed."""

    amount: float | None = Field(
        None, ge=0, lt=1, description="share removed of the weights, or channels, that it reaches; n:m implies its own"
    )
    granularity: str = Field(
        "weights",
        description="weights: single ones become 0 for good; channels: channels and neurons are taken out, "
        "the network becomes smaller; 2:4 and the like: of each 4 weights of an output, as they lie in memory, 2 stay",
    )
    scope: Literal["global", "layer"] = Field(
        "global", description="the least of all layers together, or the same share of every layer"
    )
    schedule: Annotated[PruneScheduleSpec, PRUNE_SCHEDULES] = Field(
        OneShot(kind="one_shot"), description="when; what is left of the budget is for fine-tuning"
    )
    rewind: RewindSpec | None = Field(None, description="go back to early weights after each removal; default not")

    @abstractmethod
    def build(self) -> Criterion:
        """What gives single weights their scores."""

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """(n, m) where n of each m weights stay."""
        found = N_OF_M.fullmatch(self.granularity)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def share(self) -> float:
        """The share that is removed in the end."""
        if self.n_of_m is not None:
            return 1.0 - self.n_of_m[0] / self.n_of_m[1]
        assert self.amount is not None
        return self.amount

    @field_validator("granularity")
    @classmethod
    def _granularity_is_known(cls, value: str) -> str:
        found = N_OF_M.fullmatch(value)
        if value not in ("weights", "channels") and (found is None or int(found[1]) >= int(found[2])):
            raise ValueError(f"should be weights, channels, or n:m with n below m such as 2:4, not {show(value)}")
        return value

    @model_validator(mode="after")
    def _amount_is_given_once(self) -> PruneSpec:
        if self.n_of_m is None and self.amount is None:
            raise mistake_at(("amount",), "is missing: the share to remove, at least 0 and below 1")
        if self.n_of_m is not None and self.amount is not None:
            raise mistake_at(("amount",), f"{self.granularity} implies {self.share:g}: leave amount out")
        return self

    @model_validator(mode="after")
    def _rewinds_to_before(self) -> PruneSpec:
        if self.rewind is None:
            return self
        first, last = self.schedule.points[0][0], self.schedule.points[-1][0]
        if self.rewind.to >= first and self.rewind.to > 0:
            raise mistake_at(("rewind", "to"), f"should lie before the first removal at {first:g} of the budget")
        if last == 1:
            raise mistake_at(
                ("schedule",), "the last removal ends the budget, and nothing would be trained after going back"
            )
        return self


class Magnitude(PruneSpec):
    """The smallest weights go; of channels those with the smallest norm.

    It is the norm of all weights that go with a channel, in its layer and those that read it. In global scope it counts
    as a multiple of the mean of its layer.
    """

    formula: ClassVar[str] = "s = |w|; of a channel ‖w‖₂"
    source: ClassVar[str] = "Han et al. 2015, arXiv:1506.02626"

    kind: Literal["magnitude"]

    def build(self) -> Criterion:
        """As the base class says."""
        from nnopt.structure.prune.criteria import MagnitudeCriterion

        return MagnitudeCriterion()


class RandomPrune(PruneSpec):
    """Chance decides, by a generator of its own: what every other rule should beat."""

    kind: Literal["random"]

    def build(self) -> Criterion:
        """As the base class says."""
        from nnopt.structure.prune.criteria import RandomCriterion

        return RandomCriterion()


class Gradient(PruneSpec):
    """What would change the loss least to first order goes, as SNIP does it before training."""

    formula: ClassVar[str] = "s = |w · ∂J/∂w|; of a channel |Σ w · ∂J/∂w|"
    source: ClassVar[str] = "Lee et al. 2019, arXiv:1810.02340; channels: Molchanov et al. 2019, arXiv:1906.10771"

    kind: Literal["gradient"]
    samples: int = Field(1024, gt=0, description="training samples whose gradient it takes")

    def build(self) -> Criterion:
        """As the base class says."""
        from nnopt.structure.prune.criteria import GradientCriterion

        return GradientCriterion(self.samples)


class Movement(PruneSpec):
    """What moves towards 0 while training goes."""

    formula: ClassVar[str] = "s = −Σ w · ∂J/∂w over the updates so far"
    source: ClassVar[str] = "Sanh et al. 2020, arXiv:2005.07683"

    kind: Literal["movement"]

    def build(self) -> Criterion:
        """As the base class says."""
        from nnopt.structure.prune.criteria import MovementCriterion

        return MovementCriterion()

    @model_validator(mode="after")
    def _single_weights(self) -> Movement:
        if self.granularity == "channels":
            raise mistake_at(
                ("granularity",), "movement ranks single weights: take weights or n:m, or kind magnitude or gradient"
            )
        if self.schedule.points[0][0] == 0:
            raise mistake_at(("schedule",), "movement knows nothing before the first update: begin after 0")
        return self


PRUNERS_OF_STRUCTURE = Kinds("prune", PruneSpec, (Magnitude, RandomPrune, Gradient, Movement))
