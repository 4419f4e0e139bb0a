"""Several experiments with the same variants: which of them is better over all tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnopt.compare.groups import Group
from nnopt.compare.statistics.bootstrap import interquartile_mean, iqm_interval
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.friedman import Floats, friedman, mean_rank_intervals, row_ranks
from nnopt.compare.statistics.geometric import geometric_interval, geometric_mean
from nnopt.compare.statistics.profiles import Profile, performance_profiles, profile_score
from nnopt.compare.tasks.notes import make_task_notes, task_of
from nnopt.compare.tasks.scores import Scores, Task, quality_order, scores, task_measure
from nnopt.compare.text import listed

if TYPE_CHECKING:
    from nnopt.compare.target import AxisTime, TimeToTarget

# Variant -> the time to target in each task, None where it has none.
Medians = Mapping[str, Sequence["AxisTime | None"]]


@dataclass(frozen=True)
class Speedup:
    """`factor` is the geometric mean over tasks of median time of the baseline / of the variant: above 1 is faster.

    `tasks` counts those with a ratio; `left_out` names the others, with the reason. `interval` is None below
    three tasks, and never narrower than what the distance between evaluations leaves open.
    """

    variant: str
    baseline: str
    factor: float | None
    interval: Interval | None
    tasks: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class AcrossTasks:
    """What several experiments (`tasks`) say together about the `variants` that all of them have.

    `axis` is what times are measured in, None where a task has no target of its own: then there are neither
    profiles nor speed-ups. `profiles` is variant -> (tau, share of tasks within tau times the best), a step
    function from tau = 1. `iqm` is the interquartile mean of `score`, more being better, with its interval.
    `ranks` are mean ranks over tasks from 1 for the best, by time to target where there is an axis, else by each
    task's metric. `times` is variant -> median time to target a task, None where it never got there. `metrics` is
    what each task is judged by. `notes` are sentences on what the numbers do not show.
    """

    tasks: tuple[str, ...]
    variants: tuple[str, ...]
    baseline: str
    axis: str | None
    profiles: dict[str, Profile]
    speedups: tuple[Speedup, ...]
    score: str
    iqm: dict[str, tuple[float, Interval | None]]
    ranks: dict[str, tuple[float, Interval | None]]
    friedman_p: float | None
    notes: tuple[str, ...]
    times: dict[str, tuple[float | None, ...]]
    metrics: tuple[str, ...]

    @property
    def profile_scores(self) -> dict[str, float]:
        """Variant -> mean of its profile over tau from 1 to 4, as AlgoPerf scores it; {} without an axis."""
        return {name: profile_score(profile) for name, profile in self.profiles.items()}

    @property
    def ranked_by(self) -> str:
        """What the ranks are by."""
        if self.axis is not None:
            return f"{self.axis.replace('_', ' ')} to target"
        return self.metrics[0] if len(set(self.metrics)) == 1 else "each task's metric"


def is_across_tasks(groups: Sequence[Group]) -> bool:
    """Whether these are several experiments on different tasks with at least two variant names in common.

    Tasks differ where a common variant's spec has other data, another model or another loss.
    """
    tasks = _by_experiment(groups)
    if len(tasks) < 2:
        return False
    common = set.intersection(*(set(variants) for variants in tasks.values()))
    different = any(len({task_of(variants[name][0]) for variants in tasks.values()}) > 1 for name in common)
    return len(common) > 1 and different


def across_tasks(
    groups: Sequence[Group],
    times: Mapping[str, TimeToTarget | None],
    metric: str,
    higher: bool,
    baseline_variant: str,
    axis: str = "steps",
) -> AcrossTasks:
    """Sums up `groups` of several experiments, the tasks.

    `times` is group label -> time to target. Each task is judged by `metric` (more is better if `higher`) where
    its runs have it, else by what they chose their best weights by. Where the baseline does not take part, the
    first variant that does is taken.
    """
    tasks, variants, left_out = _participants(groups, metric, higher)
    baseline = baseline_variant if baseline_variant in variants or not variants else variants[0]
    without_target = _without_target(tasks, variants, times, axis)
    has_times = bool(tasks and variants) and not without_target
    found = {name: [_on_axis(task, name, times, axis) for task in tasks] for name in variants} if has_times else {}
    medians = {name: tuple(one.median if one else None for one in row) for name, row in found.items()}
    ranks = _rank_table(tasks, variants, medians)
    tested = friedman(ranks)
    intervals = mean_rank_intervals(ranks)
    scored = scores(tasks, variants)
    names = tuple(task.name for task in tasks)
    speedups = tuple(speedup(name, baseline, names, found) for name in medians if name != baseline)
    if baseline != baseline_variant:
        left_out = [*left_out, f"{baseline_variant} does not take part in every task: {baseline} is the baseline here."]
    return AcrossTasks(
        tasks=names,
        variants=variants,
        baseline=baseline,
        axis=axis if has_times else None,
        profiles=performance_profiles(medians),
        speedups=speedups,
        score=scored.of,
        iqm=_interquartile_means(scored),
        ranks={name: (float(ranks[:, at].mean()), intervals[at]) for at, name in enumerate(variants)},
        friedman_p=tested.p if tested else None,
        notes=(
            *left_out,
            *_without_bound(speedups),
            *make_task_notes(tasks, variants, axis, without_target, medians, scored, tested),
        ),
        times=medians,
        metrics=tuple(task.measure.name for task in tasks),
    )


def _by_experiment(groups: Sequence[Group]) -> dict[str, dict[str, list[Group]]]:
    """Experiment -> variant -> its groups; trials of a search only where there is nothing else."""
    tasks: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        tasks.setdefault(group.experiment, {}).setdefault(group.variant, []).append(group)
    for variants in tasks.values():
        for name, several in variants.items():
            variants[name] = [group for group in several if group.trial is None] or several
    return tasks


def _participants(groups: Sequence[Group], metric: str, higher: bool) -> tuple[list[Task], tuple[str, ...], list[str]]:
    """The tasks, the variants that have a result in each of them, and a sentence on each that is left out."""
    tasks, said = [], []
    names: dict[str, None] = {}
    for experiment, variants in _by_experiment(groups).items():
        names.update(dict.fromkeys(variants))
        measure = task_measure([group for several in variants.values() for group in several], metric, higher)
        several_specs = [name for name, found in variants.items() if len(found) > 1]
        said += [f"{name} stands for {len(variants[name])} specs in {experiment}." for name in several_specs]
        single = {name: found[0] for name, found in variants.items() if len(found) == 1}
        samples = {name: measure.sample(group) for name, group in single.items()}
        task = Task(experiment, measure, single, {name: sample for name, sample in samples.items() if sample})
        if task.samples:
            tasks.append(task)
        else:
            said.append(f"{experiment} is left out across tasks: no run there has ended with a {measure.name}.")
    taking_part = tuple(name for name in names if tasks and all(name in task.samples for task in tasks))
    for name in names:
        lacking = [task.name for task in tasks if name not in task.samples]
        if lacking:
            said.append(f"{name} is left out across tasks: it has no result in {listed(lacking)}.")
    return tasks, taking_part, said


def _on_axis(task: Task, variant: str, times: Mapping[str, TimeToTarget | None], axis: str) -> AxisTime | None:
    found = times.get(task.groups[variant].label)
    return found.axes.get(axis) if found else None


def _without_target(
    tasks: Sequence[Task], variants: Sequence[str], times: Mapping[str, TimeToTarget | None], axis: str
) -> list[str]:
    """The tasks in which not every variant has a time to one target on this axis."""
    lacking = []
    for task in tasks:
        found = [times.get(task.groups[name].label) for name in variants]
        targets = {one.target for one in found if one}
        if len(targets) != 1 or any(_on_axis(task, name, times, axis) is None for name in variants):
            lacking.append(task.name)
    return lacking


def _rank_table(
    tasks: Sequence[Task], variants: Sequence[str], medians: Mapping[str, Sequence[float | None]]
) -> Floats:
    """[tasks, variants]: ranks by time to target where there are times, else by quality."""
    if not variants:
        return np.zeros((len(tasks), 0))
    if not medians:
        return row_ranks([quality_order(task, variants) for task in tasks])
    rows = np.array([[math.inf if time is None else time for time in row] for row in medians.values()])
    return row_ranks(rows.T)


def _interquartile_means(scored: Scores) -> dict[str, tuple[float, Interval | None]]:
    return {
        name: (float(interquartile_mean([score for task in tasks for score in task])), iqm_interval(tasks))
        for name, tasks in scored.values.items()
        if tasks
    }


def speedup(variant: str, baseline: str, tasks: Sequence[str], found: Medians) -> Speedup:
    """How much sooner a variant gets to the targets of `tasks` than the baseline, over those where both do."""
    both: list[tuple[AxisTime, AxisTime]] = []
    reasons: dict[str, list[str]] = {}
    for task, one, other in zip(tasks, found[variant], found[baseline], strict=True):
        reason = _no_ratio(variant, one, baseline, other)
        if reason or one is None or other is None:
            reasons.setdefault(reason or "no time", []).append(task)
        else:
            both.append((one, other))
    left_out = [f"{listed(names)} ({reason})" for reason, names in reasons.items()]
    ratios = [(other.median or 1.0) / (one.median or 1.0) for one, other in both]
    return Speedup(
        variant=variant,
        baseline=baseline,
        factor=geometric_mean(ratios) if ratios else None,
        interval=_with_grid(geometric_interval(ratios), both),
        tasks=len(ratios),
        left_out=tuple(left_out),
    )


def _no_ratio(variant: str, one: AxisTime | None, baseline: str, other: AxisTime | None) -> str | None:
    """Why two times have no ratio; None where they have one."""
    never = [name for name, time in ((variant, one), (baseline, other)) if time is None or time.median is None]
    if never:
        return "neither got there" if len(never) == 2 else f"{never[0]} never got there"
    at_once = [name for name, time in ((variant, one), (baseline, other)) if time and time.median == 0]
    return f"{' and '.join(at_once)} began there" if at_once else None


def _with_grid(interval: Interval | None, both: Sequence[tuple[AxisTime, AxisTime]]) -> Interval | None:
    """The interval, made as wide as what the distance between evaluations leaves open."""
    if interval is None:
        return None
    slowest, fastest = [], []
    for one, other in both:
        if one.grid is not None and other.grid is not None:
            slowest.append(other.grid.low / one.grid.high)
            fastest.append(other.grid.high / one.grid.low if one.grid.low > 0 else math.inf)
    if not slowest:
        return interval
    low = 0.0 if min(slowest) <= 0 else geometric_mean(slowest)
    high = math.inf if math.isinf(max(fastest)) else geometric_mean(fastest)
    return Interval(min(interval.low, low), max(interval.high, high))


def _without_bound(speedups: Sequence[Speedup]) -> list[str]:
    names = [
        one.variant for one in speedups if one.interval and (one.interval.low <= 0 or math.isinf(one.interval.high))
    ]
    why = "a run can have been at the target at any moment before its first evaluation; evaluate more often."
    return [f"The speed-up of {listed(names)} has no bound: {why}"] if names else []
