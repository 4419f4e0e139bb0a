"""search.json beside an experiment's variants: what was searched, and how. `sweep` writes it, `compare` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nnopt.errors import RunsFolderError
from nnopt.spec.identity import resolved
from nnopt.spec.search.domains import Domain, NumberDomain
from nnopt.spec.search.search import SearchSpec
from nnopt.store.files import write_json
from nnopt.version import __version__

SEARCH = "search.json"
SEARCH_SCHEMA = 1


@dataclass(frozen=True)
class Round:
    """Trials that one space was searched by: those from number `first` on. A later round is an extension."""

    first: int
    trials: int
    space: dict[str, Domain]


@dataclass(frozen=True)
class Winner:
    """The trial whose setting was confirmed, and the hash of the runs that confirm it."""

    trial: int
    spec_hash: str


@dataclass(frozen=True)
class Sized:
    """What the network of a trial takes, as it was held against the limits of the search."""

    trial: int
    setting: dict[str, Any]
    sizes: dict[str, float]
    is_over: bool  # beyond a limit: it has no runs


@dataclass(frozen=True)
class SearchedVariant:
    """What was searched for one variant: its rounds, and the settings that they were laid over.

    `settings` are the keys that differ from the defaults. `winner` is None until the search is over. Where there are
    two objectives there is no winner, but the members of the `front` that were confirmed, from the cheapest on.
    `sized` are the trials that were held against limits, by number.
    """

    order: int
    rounds: tuple[Round, ...]
    settings: dict[str, Any]
    winner: Winner | None = None
    front: tuple[Winner, ...] = ()
    sized: tuple[Sized, ...] = ()

    @property
    def trials(self) -> int:
        """Trials over all rounds."""
        return sum(one.trials for one in self.rounds)

    @property
    def space(self) -> dict[str, Domain]:
        """All that was searched: for each key the lowest to the highest value of any round."""
        found = dict(self.rounds[0].space)
        for later in self.rounds[1:]:
            for key, domain in later.space.items():
                old = found[key]
                if isinstance(old, NumberDomain) and isinstance(domain, NumberDomain):
                    found[key] = old.with_ends(min(old.low, domain.low), max(old.high, domain.high))
        return found


@dataclass(frozen=True)
class SearchFile:
    """The search of an experiment.

    `search` holds the keys that are the same for all variants, resolved, without `space`: sampler, seeds, prune,
    at_once and so on. `is_extending` from the moment an extension is begun until all that follows from it is done.
    """

    experiment: str
    metric: str
    higher_is_better: bool
    trial_seeds: tuple[int, ...]
    confirm_seeds: tuple[int, ...]
    search: dict[str, Any]
    variants: dict[str, SearchedVariant]
    is_extending: bool = False
    written_by: str = field(default=__version__)  # version of nnopt

    @classmethod
    def read(cls, experiment_folder: Path) -> SearchFile | None:
        """The search of the experiment in this folder, or None where there is none.

        Raises:
            RunsFolderError: it is damaged, or a newer nnopt wrote it.
        """
        path = experiment_folder / SEARCH
        try:
            found = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RunsFolderError(f"cannot read {path}: {error.strerror}") from None
        except ValueError as error:
            raise RunsFolderError(f"{path} is damaged ({error}); {ADVICE}") from None
        schema = found.get("schema") if isinstance(found, dict) else None
        if not isinstance(schema, int):
            raise RunsFolderError(f"{path} is no record of a search; {ADVICE}")
        if schema > SEARCH_SCHEMA:
            raise RunsFolderError(
                f"{path} has schema {schema} (nnopt {found.get('written_by')}), and this nnopt {__version__} reads up "
                f"to {SEARCH_SCHEMA}: take a newer one; {ADVICE}"
            )
        try:
            return _from_plain({key: value for key, value in found.items() if key != "schema"})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunsFolderError(f"{path} is damaged ({type(error).__name__}: {error}); {ADVICE}") from None

    def write(self, experiment_folder: Path) -> None:
        """Writes it, whole.

        Raises:
            DiskError: the disk refuses.
        """
        write_json(experiment_folder / SEARCH, {"schema": SEARCH_SCHEMA, **_to_plain(self)})

    @property
    def against(self) -> str | None:
        """The second objective, of which less is better; None where there is one alone."""
        return (self.search.get("objective") or {}).get("against")

    @property
    def limits(self) -> dict[str, float]:
        """Quantity -> what a network may take of it at most."""
        return dict(self.search.get("limits") or {})

    def confirmed_as(self, name: str) -> dict[str, Winner]:
        """The names under which the winner of a variant, or the members of its front, were trained again."""
        variant = self.variants[name]
        members = {member_name(name, one.trial): one for one in variant.front}
        return members if variant.winner is None else {name: variant.winner, **members}

    def with_variant(self, name: str, **changes: Any) -> SearchFile:
        """The same with other fields of one variant."""
        return replace(self, variants={**self.variants, name: replace(self.variants[name], **changes)})


def member_name(variant: str, trial: int) -> str:
    """What the runs are called that confirm a member of a variant's front: `mlp.7`."""
    return f"{variant}.{trial}"


ADVICE = "`nnopt sweep CONFIG --fresh` sets the search aside and begins again"


def space_to_plain(space: Mapping[str, Domain]) -> dict[str, Any]:
    """The space as it stands in a spec."""
    plain = {key: resolved(domain) for key, domain in space.items()}
    return {key: {name: value for name, value in keys.items() if value != {}} for key, keys in plain.items()}


def _to_plain(file: SearchFile) -> dict[str, Any]:
    plain = {**file.__dict__, "trial_seeds": list(file.trial_seeds), "confirm_seeds": list(file.confirm_seeds)}
    plain["variants"] = {
        name: {
            "order": variant.order,
            "rounds": [{**one.__dict__, "space": space_to_plain(one.space)} for one in variant.rounds],
            "settings": variant.settings,
            "winner": asdict(variant.winner) if variant.winner else None,
            **({"front": [asdict(one) for one in variant.front]} if variant.front else {}),
            **({"sized": [asdict(one) for one in variant.sized]} if variant.sized else {}),
        }
        for name, variant in file.variants.items()
    }
    return plain


def _from_plain(plain: dict[str, Any]) -> SearchFile:
    variants = {
        name: SearchedVariant(
            order=int(variant["order"]),
            rounds=tuple(
                Round(int(one["first"]), int(one["trials"]), _space(one["space"])) for one in variant["rounds"]
            ),
            settings=dict(variant["settings"]),
            winner=Winner(**variant["winner"]) if variant["winner"] else None,
            front=tuple(Winner(**one) for one in variant.get("front") or ()),
            sized=tuple(Sized(**one) for one in variant.get("sized") or ()),
        )
        for name, variant in plain.pop("variants").items()
    }
    seeds: dict[str, Any] = {name: tuple(plain.pop(name)) for name in ("trial_seeds", "confirm_seeds")}
    return SearchFile(**plain, **seeds, variants=variants)


def _space(plain: Any) -> dict[str, Domain]:
    return dict(SearchSpec.model_validate({"space": plain}).space)
