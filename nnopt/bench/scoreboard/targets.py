"""targets.yaml: the value that ends each workload's runs, fixed from tuned baselines before anything is compared."""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from nnopt.bench.scoreboard.board import Board, Workload
from nnopt.errors import SpecError, UsageError
from nnopt.spec.base import Items, Spec
from nnopt.spec.identity import to_yaml
from nnopt.spec.messages import in_words
from nnopt.spec.metric_names import higher_is_better
from nnopt.spec.yaml_reader import read_file
from nnopt.store.files import write_whole
from nnopt.store.record import RunRecord
from nnopt.version import __version__

TARGETS = "targets.yaml"
HEAD = """\
# Written by `nnopt bench {folder} --targets`: change no value by hand, but run it again.
#
# Each target is the median, over the seeds, of the last value of the better baseline at the best of its settings.
"""


class FixedTarget(Spec):
    """The target of one workload, and where it comes from."""

    metric: str = Field(description="column of metrics.csv")
    value: float = Field(description="the median of the better baseline")
    baseline: str = Field(description="the better baseline")
    quartiles: Items[float] = Field(description="the first and the third quartile of its runs")
    setting: dict[str, Any] = Field(description="what was found for it")
    medians: dict[str, float] = Field(description="the median of each baseline that has one")
    trials: int = Field(description="settings of each baseline")
    seeds: int = Field(description="runs of each baseline's best setting")
    seconds: float = Field(description="training seconds that each of them had")
    processor: str = Field(description="what they were trained on")
    nnopt: str = Field(description="version of nnopt")
    torch: str = Field(description="version of torch")
    date: str = Field(description="the day")
    workload: str = Field(description="digest of the workload's file: of another one this is no target")


@dataclass(frozen=True)
class Confirmed:
    """The runs of a baseline's best setting, and that setting."""

    baseline: str
    setting: Mapping[str, Any]
    records: tuple[RunRecord, ...]


def read_targets(board: Board) -> dict[str, FixedTarget]:
    """The targets by workload; {} where there is no file yet.

    Raises:
        SpecError: the file is damaged.
    """
    file = board.folder / TARGETS
    if not file.exists():
        return {}
    root = read_file(file)
    found: dict[str, FixedTarget] = {}
    for name, keys in root.plain().items():
        try:
            found[name] = FixedTarget.model_validate(keys)
        except ValidationError as error:
            item = error.errors(include_url=False)[0]
            path = (name, *item["loc"])
            line = root.line_of(path)[0]
            raise SpecError(f"{file}:{line}: {'.'.join(map(str, path))}: {in_words(item)}") from None
    return found


def targets_of(board: Board) -> dict[str, FixedTarget]:
    """The target of every chosen workload.

    Raises:
        UsageError: one has none, or has changed since.
    """
    found, how = read_targets(board), f"`nnopt bench {board.folder} --targets` fixes it"
    for workload in board.chosen_workloads:
        fixed = found.get(workload.name)
        if fixed is None:
            raise UsageError(f"{board.folder / TARGETS}: workload {workload.name} has no target yet: {how}")
        if not is_of(fixed, workload):
            raise UsageError(f"{workload.file} has changed since its target was fixed: undo that, or {how} anew")
    return found


def is_of(fixed: FixedTarget, workload: Workload) -> bool:
    """Whether a target was fixed for this very workload."""
    return fixed.workload == workload.digest


def fix_target(board: Board, workload: Workload, confirmed: list[Confirmed]) -> FixedTarget:
    """The target of a workload from the runs of its baselines.

    A run that diverged or failed counts as the worst.

    Raises:
        UsageError: half of every baseline's runs have no value.
    """
    higher = higher_is_better(workload.metric)
    values = {one.baseline: [_last(record, workload.metric) for record in one.records] for one in confirmed}
    medians = {name: statistics.median(found) for name, found in values.items() if found}
    known = {name: median for name, median in medians.items() if math.isfinite(median)}
    if not known:
        raise UsageError(
            f"workload {workload.name} has no target: half of the runs of {', '.join(values) or 'its baselines'} or "
            f"more came to no {workload.metric}; change the ranges of their rates, or the workload"
        )
    best = (max if higher else min)(known, key=lambda name: known[name])
    chosen = next(one for one in confirmed if one.baseline == best)
    machine = chosen.records[0].summary.get("machine") or {}
    return FixedTarget(
        metric=workload.metric,
        value=float(f"{known[best]:.6g}"),
        baseline=best,
        quartiles=tuple(_finite(value) for value in _quartiles(values[best])),
        setting=dict(chosen.setting),
        medians=known,
        trials=board.spec.targets.trials,
        seeds=len(chosen.records),
        seconds=workload.cap * board.spec.targets.share,
        processor=str(machine.get("processor") or "unknown"),
        nnopt=__version__,
        torch=str(machine.get("torch") or "unknown"),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        workload=workload.digest,
    )


def write_targets(board: Board, targets: Mapping[str, FixedTarget]) -> Path:
    """Writes targets.yaml, whole, the workloads in the order of their names.

    Raises:
        DiskError: the disk refuses.
    """
    file = board.folder / TARGETS
    plain = {name: targets[name].model_dump(mode="json") for name in sorted(targets)}
    write_whole(file, HEAD.format(folder=board.folder) + to_yaml(plain))
    return file


def _last(record: RunRecord, metric: str) -> float:
    worst = -math.inf if higher_is_better(metric) else math.inf
    if record.status != "done":
        return worst
    value = (record.summary.get("metrics") or {}).get(metric, {}).get("last")
    return worst if value is None else float(value)


def _quartiles(values: list[float]) -> tuple[float, float]:
    """The first and the third quartile, by linear interpolation; of a single value that value."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(sorted(values), n=4, method="inclusive")
    return first, third


def _finite(value: float) -> float:
    """A file has no infinity: a quartile among diverged runs is told as the largest number there is."""
    largest = 1e308
    return max(-largest, min(largest, value)) if not math.isnan(value) else largest
