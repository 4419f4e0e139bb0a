"""Time to target: when a metric first got to a value, and how many runs got there at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnopt.compare.groups import Group
from nnopt.compare.series import finite, series
from nnopt.compare.spread import mean
from nnopt.errors import UsageError
from nnopt.spec.metric_names import higher_is_better, parse_column
from nnopt.store.record import RunRecord


@dataclass(frozen=True)
class Target:
    """The value of a metric that time-to-target waits for."""

    metric: str
    value: float


@dataclass(frozen=True)
class TimeToTarget:
    """How long the runs of a group took to a target: means over the runs that got there.

    `reached` of `runs` got there; a run that diverged or failed has not, whatever it saw before. Each mean is
    None where no run got there, and where its quantity was not recorded.
    """

    target: Target
    reached: int
    runs: int
    steps: float | None
    samples: float | None
    gradient_evaluations: float | None
    seconds: float | None


def check_target(target: Target, records: Sequence[RunRecord]) -> None:
    """Refuse a value that the metric cannot take.

    Raises:
        UsageError: NaN, infinity, or a value out of the metric's range.
    """
    if not math.isfinite(target.value):
        raise UsageError(f"the target should be a finite number, not {target.value}")
    task = next((record.summary["task"] for record in records if record.summary.get("task")), None)
    try:
        metric = parse_column(target.metric, task)[1] if task else None
    except UsageError:
        return  # a column beside the known metrics, such as generalisation_gap: any number will do
    if metric and not metric.lowest <= target.value <= metric.highest:
        lies = f"it lies between {metric.lowest:g} and {metric.highest:g}"
        raise UsageError(f"no run can get to {target.metric} {target.value:g}: {lies}")


def time_to_target(group: Group, asked: Target | None) -> TimeToTarget | None:
    """Time to `asked`, read off the curves; without it to the runs' own target, None where they have none."""
    if asked is None:
        given = next(filter(None, (record.summary.get("target") for record in group.records)), None)
        if given is None:
            return None
        moments = [_own_moment(record) for record in group.results]
        target = Target(str(given["metric"]), float(given["value"]))
    else:
        moments = [_moment(record, asked) for record in group.results]
        target = asked
    reached = [moment for moment in moments if moment is not None]

    def over(key: str) -> float | None:
        return mean(finite(moment.get(key)) for moment in reached)

    return TimeToTarget(
        target=target,
        reached=len(reached),
        runs=len(group.records),
        steps=over("step"),
        samples=over("samples"),
        gradient_evaluations=over("gradient_evaluations"),
        seconds=over("seconds"),
    )


def _own_moment(record: RunRecord) -> dict[str, Any] | None:
    own = record.summary.get("target") or {}
    return own if own.get("reached") else None


def _moment(record: RunRecord, target: Target) -> dict[str, Any] | None:
    """The first row of metrics.csv at which the target is reached."""
    sign = 1 if higher_is_better(target.metric) else -1
    found = series(record, target.metric)
    for row, value, step, seconds in zip(found.rows, found.values, found.steps, found.seconds, strict=True):
        if sign * value >= sign * target.value:
            curve = record.curve()
            moment: dict[str, Any] = {"step": step, "seconds": seconds}
            counted = ("samples", "gradient_evaluations")
            return moment | {name: curve[name][row] for name in counted if name in curve}
    return None
