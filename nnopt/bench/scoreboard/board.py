"""The folder of a scoreboard: scoreboard.yaml, a file a workload, a file an optimizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from nnopt.errors import SpecError, UsageError
from nnopt.spec.base import Items, Spec, show
from nnopt.spec.experiment import RunSettings, check_name
from nnopt.spec.messages import in_words
from nnopt.spec.nearest import nearest
from nnopt.spec.yaml_reader import Node, read_file

SETTINGS = "scoreboard.yaml"
WORKLOADS, OPTIMIZERS = "workloads", "optimizers"
# What a workload says: all that a run is made of, but what its optimizer brings along.
OF_A_WORKLOAD = tuple(name for name in RunSettings.model_fields if name not in ("optimizer", "search", "tuned"))
# What comes with an optimizer. Batch size, precision and all else belong to the workload.
OF_AN_OPTIMIZER = ("optimizer", "strategy", "search")
OF_ITS_STRATEGY = ("lr_decay", "clip_norm", "clip_value", "average")


class TargetsSpec(Spec):
    """How the targets are fixed beforehand."""

    baselines: Annotated[Items[str], Field(min_length=1)] = Field(
        description="optimizers with `search`: the best one's median is the target"
    )
    trials: int = Field(20, ge=1, description="settings of each baseline")
    seeds: int = Field(20, ge=1, description="runs of each baseline's best setting")
    share: float = Field(0.5, gt=0, le=1, description="share of a workload's cap that a baseline has")


class BoardSpec(Spec):
    """scoreboard.yaml: what all workloads and optimizers have in common."""

    name: str = Field(description="begins the names of its experiments, NAME-WORKLOAD")
    reference: str = Field(description="the optimizer that speed-ups are against")
    trials: int = Field(8, ge=1, description="settings tried of every optimizer with `search`, on every workload")
    seeds: int = Field(5, ge=1, description="runs of the best setting, and of every optimizer without `search`")
    targets: TargetsSpec = Field(description="how the targets are fixed")

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        return check_name(name, "name")


@dataclass(frozen=True)
class Workload:
    """A task: the keys of an experiment without an optimizer. `cap`: training seconds that a run has at most."""

    name: str
    file: Path
    keys: Mapping[str, Any]
    metric: str
    cap: float

    @property
    def digest(self) -> str:
        """Names what the workload is: sixteen hexadecimal digits."""
        text = json.dumps(self.keys, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """An optimizer with what is searched of it; without `search` it is of the self-tuning class."""

    name: str
    file: Path
    keys: Mapping[str, Any]

    @property
    def is_tuned(self) -> bool:
        """Whether it is of the class whose settings are searched for each workload."""
        return "search" in self.keys


@dataclass(frozen=True)
class Board:
    """All of the folder; `chosen` are the pairs of a workload and an optimizer that `--only` leaves."""

    folder: Path
    spec: BoardSpec
    workloads: tuple[Workload, ...]
    optimizers: tuple[Entry, ...]
    chosen: frozenset[tuple[str, str]]

    @property
    def chosen_workloads(self) -> tuple[Workload, ...]:
        """The workloads of which a pair is chosen."""
        return tuple(one for one in self.workloads if any(one.name == name for name, _ in self.chosen))

    def entries(self, workload: Workload) -> tuple[Entry, ...]:
        """The optimizers that are chosen on a workload."""
        return tuple(one for one in self.optimizers if (workload.name, one.name) in self.chosen)

    def optimizer(self, name: str) -> Entry:
        """The optimizer called `name`, which has been checked to be there."""
        return next(one for one in self.optimizers if one.name == name)


def read_board(folder: Path, only: Sequence[str] = ()) -> Board:
    """Reads a scoreboard's folder. `only`: patterns of names of workloads, of optimizers, or of WORKLOAD/OPTIMIZER.

    Raises:
        SpecError: a file or a key is missing or wrong.
        UsageError: a pattern fits nothing.
    """
    if not (folder / SETTINGS).is_file():
        raise UsageError(
            f"{folder} is no scoreboard, as it has no {SETTINGS}: name a folder that has, with {WORKLOADS}/ and "
            f"{OPTIMIZERS}/, such as configs/scoreboard"
        )
    spec = _settings(folder / SETTINGS)
    workloads = tuple(_workload(file) for file in _files(folder / WORKLOADS))
    optimizers = tuple(_entry(file) for file in _files(folder / OPTIMIZERS))
    tuned = [one.name for one in optimizers if one.is_tuned]
    for key, names, known in (
        ("reference", (spec.reference,), [one.name for one in optimizers]),
        ("targets.baselines", spec.targets.baselines, tuned),
    ):
        for name in names:
            if name not in known:
                what = "optimizer" if key == "reference" else "optimizer with `search`"
                raise SpecError(
                    f"{folder / SETTINGS}: {key}: {folder / OPTIMIZERS} has no {what} '{name}'{nearest(name, known)}; "
                    f"there are {', '.join(known)}"
                )
    chosen = _chosen([one.name for one in workloads], [one.name for one in optimizers], only)
    return Board(folder, spec, workloads, optimizers, frozenset(chosen))


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    if not found:
        raise SpecError(f"{folder}: there is no .yaml file in it, and a scoreboard needs at least one")
    for file in found:
        try:
            check_name(file.stem, "file's name")
        except ValueError as error:
            raise SpecError(f"{file}: {error}") from None
    return found


def _settings(file: Path) -> BoardSpec:
    root = read_file(file)
    try:
        return BoardSpec.model_validate(root.plain())
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            path = (*item["loc"], *item.get("ctx", {}).get("path", ()))
            lines.append(f"{file}:{root.line_of(path)[0]}: {'.'.join(map(str, path))}: {in_words(item)}")
        raise SpecError(lines) from None


def _workload(file: Path) -> Workload:
    root = read_file(file)
    keys = root.plain()
    _check_keys(file, root, (), OF_A_WORKLOAD, "a workload's file")
    budget, evaluation = keys.get("budget"), keys.get("evaluation")
    cap = budget.get("seconds") if isinstance(budget, dict) else None
    if isinstance(cap, bool) or not isinstance(cap, int | float) or cap <= 0 or len(budget or ()) != 1:
        raise _wrong(file, root, ("budget",), "should be {seconds: S}, the training seconds that a run has at most")
    metric = evaluation.get("select") if isinstance(evaluation, dict) else None
    if not isinstance(metric, str):
        text = "should have `select`, the column that the target is of, such as {select: val_accuracy}"
        raise _wrong(file, root, ("evaluation",), text)
    if "target" in (evaluation or {}):
        text = f"is fixed by `nnopt bench {file.parent.parent} --targets`: leave it out"
        raise _wrong(file, root, ("evaluation", "target"), text)
    return Workload(file.stem, file, keys, metric, float(cap))


def _entry(file: Path) -> Entry:
    root = read_file(file)
    keys = root.plain()
    _check_keys(file, root, (), OF_AN_OPTIMIZER, "an optimizer's file")
    if not isinstance(keys.get("optimizer"), dict):
        raise _wrong(file, root, ("optimizer",), "should be a mapping such as {kind: adam}")
    for key, known in (("strategy", OF_ITS_STRATEGY), ("search", ("space",))):
        if key in keys:
            if not isinstance(keys[key], dict) or not keys[key]:
                raise _wrong(file, root, (key,), f"should be a mapping of {', '.join(known)}, not {show(keys[key])}")
            _check_keys(file, root, (key,), known, f"`{key}` of an optimizer's file")
    return Entry(file.stem, file, keys)


def _check_keys(file: Path, root: Node, path: tuple[str, ...], known: Collection[str], where: str) -> None:
    keys = root.plain()
    for step in path:
        keys = keys[step]
    for key in keys:
        if key not in known:
            text = f"is no key of {where}{nearest(str(key), known)}; its keys are {', '.join(known)}"
            raise _wrong(file, root, (*path, key), text)


def _wrong(file: Path, root: Node, path: tuple[str, ...], text: str) -> SpecError:
    return SpecError(f"{file}:{root.line_of(path)[0]}: {'.'.join(path)}: {text}")


def _chosen(workloads: Sequence[str], optimizers: Sequence[str], only: Sequence[str]) -> set[tuple[str, str]]:
    """The pairs that fit: some pattern of workloads and some of optimizers, where there are any; or one of pairs."""
    pairs = {(workload, optimizer) for workload in workloads for optimizer in optimizers}
    if not only:
        return pairs
    found: set[tuple[str, str]] = set()
    of_workloads: set[str] = set()
    of_optimizers: set[str] = set()
    for pattern in only:
        pair = {one for one in pairs if fnmatchcase("/".join(one), pattern)} if "/" in pattern else set()
        first = {name for name in workloads if fnmatchcase(name, pattern)}
        second = {name for name in optimizers if fnmatchcase(name, pattern)}
        if not (pair or first or second):
            raise UsageError(
                f"--only {pattern} fits no workload ({', '.join(workloads)}), no optimizer ({', '.join(optimizers)}) "
                "and no WORKLOAD/OPTIMIZER"
            )
        found |= pair
        of_workloads |= first
        of_optimizers |= second
    if of_workloads or of_optimizers:
        found |= {
            (workload, optimizer)
            for workload, optimizer in pairs
            if workload in (of_workloads or workloads) and optimizer in (of_optimizers or optimizers)
        }
    return found
