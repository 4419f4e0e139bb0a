"""Time to target: when a metric first got to a value, and how many runs got there at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnopt.compare.groups import Group
from nnopt.compare.series import series, settled_from
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.proportion import success_rate
from nnopt.compare.statistics.survival import Times, kaplan_meier
from nnopt.errors import UsageError
from nnopt.spec.metric_names import higher_is_better, parse_column
from nnopt.store.record import RunRecord

# Axis -> its column in metrics.csv.
AXES = {
    "steps": "step",
    "samples": "samples",
    "gradient_evaluations": "gradient_evaluations",
    "seconds": "train_seconds",
}


@dataclass(frozen=True)
class Target:
    """The value of a metric that time-to-target waits for."""

    metric: str
    value: float


@dataclass(frozen=True)
class AxisTime:
    """When the runs of a group got to the target, on one axis.

    `median` is Kaplan-Meier's, at the evaluations that saw the target: None where fewer than half got there. What
    was seen at an evaluation came after the one before: `grid` holds the medians at both, so that the moment lies
    between; None with the median.
    """

    median: float | None
    grid: Interval | None
    times: Times


@dataclass(frozen=True)
class TimeToTarget:
    """How long the runs of a group took to a target.

    `reached` of `runs` got there, a share that lies in `success` (95 %, Clopper-Pearson). The runs are those that
    are done and have a value of the metric, and those that diverged, which have not got there whatever they saw
    before; `without` are the seeds of runs that are done and have no value of the metric. `axes` has "steps",
    "samples", "gradient_evaluations" and "seconds", without those that some run did not record. Where
    `interpolated`, a moment between two evaluations is the one at which the line between them meets the target.
    """

    target: Target
    reached: int
    runs: int
    success: Interval
    axes: dict[str, AxisTime]
    interpolated: bool
    without: tuple[int, ...] = ()

    @property
    def steps(self) -> float | None:
        """The median, in steps; None where fewer than half of the runs got there."""
        return self._median("steps")

    @property
    def samples(self) -> float | None:
        """The median, in samples."""
        return self._median("samples")

    @property
    def gradient_evaluations(self) -> float | None:
        """The median, in gradient evaluations."""
        return self._median("gradient_evaluations")

    @property
    def seconds(self) -> float | None:
        """The median, in seconds of training."""
        return self._median("seconds")

    def _median(self, axis: str) -> float | None:
        return self.axes[axis].median if axis in self.axes else None


@dataclass(frozen=True)
class _Moment:
    """On one axis: reached in (low, high], or not by low = high; the run was evaluated up to `end`."""

    low: float
    high: float
    reached: bool
    end: float


# A diverged run: it is known never to get there.
_NEVER = _Moment(math.inf, math.inf, False, math.inf)


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


def time_to_target(group: Group, asked: Target | None, interpolate: bool = False) -> TimeToTarget | None:
    """Time to `asked`, read off the curves; without it to the runs' own target, None where they have none.

    The first evaluation that is at least (where less is better: at most) the target counts, whatever comes later; of
    a network that changes while it trains, the first since its last change.
    A run that never got there is censored at its last evaluation, one that diverged at infinity. Training seconds
    end at a budget in seconds, which the last step oversteps.

    Raises:
        RunsFolderError: a metrics.csv that is damaged.
    """
    target = asked or _own(group.records)
    if target is None:
        return None
    seeds: list[int] = []
    without: list[int] = []
    moments: list[dict[str, _Moment]] = []
    for record in sorted((*group.results, *group.lost), key=lambda record: record.seed):
        is_lost = record.status == "diverged"
        found = dict.fromkeys(AXES, _NEVER) if is_lost else _moments(record, target, interpolate)
        if found is None:
            without.append(record.seed)
        else:
            seeds.append(record.seed)
            moments.append(found)
    reached = sum(any(moment.reached for moment in found.values()) for found in moments)
    recorded = [axis for axis in AXES if moments and all(axis in found for found in moments)]
    return TimeToTarget(
        target=target,
        reached=reached,
        runs=len(seeds),
        success=success_rate(reached, len(seeds)),
        axes={axis: _axis_time(seeds, [found[axis] for found in moments]) for axis in recorded},
        interpolated=interpolate,
        without=tuple(without),
    )


def _own(records: Sequence[RunRecord]) -> Target | None:
    """The target that the runs were given: one, as it belongs to the spec that they share."""
    given = next(filter(None, (record.summary.get("target") for record in records)), None)
    return None if given is None else Target(str(given["metric"]), float(given["value"]))


def _moments(record: RunRecord, target: Target, interpolate: bool) -> dict[str, _Moment] | None:
    """By axis, as far as recorded; None where the run has no value of the metric."""
    found = series(record, target.metric)
    if not found.values:
        return None
    sign, wanted = (1, target.value) if higher_is_better(target.metric) else (-1, -target.value)
    first = settled_from(record, found)
    place = next((place for place, value in enumerate(found.values) if place >= first and sign * value >= wanted), None)
    rows = (found.rows[place - 1] if place else None, found.rows[-1 if place is None else place], found.rows[-1])
    share = None  # of the way from the evaluation before to the one that saw the target
    if interpolate and place and place > first:
        before, here = found.values[place - 1], found.values[place]
        share = (target.value - before) / (here - before)
    curve = record.curve()
    moments = {axis: _moment(curve.get(name), rows, place is not None, share) for axis, name in AXES.items()}
    if (record.summary.get("imported") or {}).get("clock") == "none":
        moments["seconds"] = None  # its column of times holds zeros
    elif (seconds := moments["seconds"]) is not None:
        moments["seconds"] = _within(_seconds_given(record), seconds)
    return {axis: moment for axis, moment in moments.items() if moment is not None}


def _seconds_given(record: RunRecord) -> float:
    """The budget in seconds of training; inf where the run has another unit, or no spec."""
    budget = (record.summary.get("spec") or {}).get("budget") or {}
    return float(budget.get("seconds") or math.inf)


def _within(cap: float, moment: _Moment) -> _Moment:
    """The same moment, no later than `cap`.

    A run stops after the step that uses its seconds up, a little beyond them. One that gets there in that step must
    not count as longer at risk than those that were stopped there in vain.
    """
    return _Moment(min(moment.low, cap), min(moment.high, cap), moment.reached, min(moment.end, cap))


def _moment(
    column: Sequence[float | None] | None, rows: tuple[int | None, int, int], reached: bool, share: float | None
) -> _Moment | None:
    """On the axis of this column; `rows` are the evaluation before, the one that saw the target, and the last.

    None where the axis has no value at one of them. Before the first evaluation nothing was seen: training begins
    at 0.
    """
    before, here, last = (0.0 if row is None else column[row] if column else None for row in rows)
    if before is None or here is None or last is None:
        return None
    if not reached:
        return _Moment(last, last, False, last)
    if share is not None:
        before = here = before + share * (here - before)
    return _Moment(before, here, True, last)


def _axis_time(seeds: Sequence[int], moments: Sequence[_Moment]) -> AxisTime:
    times = Times(
        seeds=tuple(seeds),
        low=tuple(moment.low for moment in moments),
        high=tuple(moment.high for moment in moments),
        reached=tuple(moment.reached for moment in moments),
        end=tuple(moment.end for moment in moments),
    )
    median = kaplan_meier(times.high, times.reached).median
    if median is None:
        return AxisTime(None, None, times)
    before = kaplan_meier(times.low, times.reached).median
    # Where runs are of unequal length, one lost between two evaluations can put the median of the lows later.
    ends = (median, math.inf if before is None else before)
    return AxisTime(median, Interval(min(ends), max(ends)), times)
