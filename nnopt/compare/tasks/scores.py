"""Scores that several tasks have in common: what an interquartile mean can be taken of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nnopt.compare.groups import Group
from nnopt.compare.measures import Measure, column_measure, find_measure
from nnopt.errors import UsageError

# Seed -> value of a variant's runs in one task; infinite for those that diverged.
Sample = Mapping[int, float]


@dataclass(frozen=True)
class Task:
    """One experiment: what its runs are judged by, and by variant the group and its sample."""

    name: str
    measure: Measure
    groups: dict[str, Group]
    samples: dict[str, Sample]


@dataclass(frozen=True)
class Scores:
    """`of` says what the scores are; `values` is variant -> a list of scores a task; more is better.

    `left_out` are tasks that have no scores: no variant differs from another there.
    """

    of: str
    values: dict[str, list[list[float]]]
    left_out: tuple[str, ...]


def task_measure(groups: Sequence[Group], metric: str, higher: bool) -> Measure:
    """`metric` where a run of the task has a value of it, else what its runs chose their best weights by."""
    records = [record for group in groups for record in group.records]
    try:
        asked = find_measure(metric, records)
    except UsageError:
        asked = None
    if asked is not None and any(asked.values(group) for group in groups):
        return replace(asked, higher_is_better=higher)
    select = next((record.summary["select"] for record in records if record.summary.get("select")), metric)
    return column_measure(str(select))


def scores(tasks: Sequence[Task], variants: Sequence[str]) -> Scores:
    """The measure itself where it is a share and the same in all tasks, else values scaled within each task.

    Scaled, the worst of the variants' means in a task is 0 and the best 1. A diverged run counts as the worst
    value: 0 for a share; else as the worst value that any run of its task has, before scaling.
    """
    measures = {task.measure.name for task in tasks}
    if len(measures) == 1 and all(task.measure.is_share for task in tasks):
        shares = {name: [_without_losses(task.samples[name], 0.0) for task in tasks] for name in variants}
        return Scores(measures.pop(), shares, ())
    scaled = {task.name: _scaled(task, variants) for task in tasks}
    known = [values for values in scaled.values() if values is not None]
    return Scores(
        "values scaled within each task (0: worst variant's mean, 1: best)",
        {name: [values[name] for values in known] for name in variants},
        tuple(name for name, values in scaled.items() if values is None),
    )


def _without_losses(sample: Sample, worst: float) -> list[float]:
    return [value if math.isfinite(value) else worst for value in sample.values()]


def _scaled(task: Task, variants: Sequence[str]) -> dict[str, list[float]] | None:
    """Variant -> scores; None where all variants have the same mean."""
    sign = 1.0 if task.measure.higher_is_better else -1.0
    signed = {name: {seed: sign * value for seed, value in task.samples[name].items()} for name in variants}
    ended = [value for sample in signed.values() for value in sample.values() if math.isfinite(value)]
    if not ended:
        return None
    filled = {name: _without_losses(sample, min(ended)) for name, sample in signed.items()}
    means = [statistics.fmean(values) for values in filled.values()]
    low, span = min(means), max(means) - min(means)
    if span > 0:
        return {name: [(value - low) / span for value in values] for name, values in filled.items()}
    if len(ended) < sum(map(len, signed.values())):  # all that ended are alike, and some did not
        return {name: [float(math.isfinite(value)) for value in sample.values()] for name, sample in signed.items()}
    return None


def quality_order(task: Task, variants: Sequence[str]) -> list[int]:
    """The variants' places by quality, equal numbers for equals: by mean, after those without a diverged run."""
    keys = [_quality_key(task, name) for name in variants]
    order = sorted(set(keys))
    return [order.index(key) for key in keys]


def _quality_key(task: Task, name: str) -> tuple[bool, float]:
    sample = task.samples[name].values()
    ended = [value for value in sample if math.isfinite(value)]
    if not ended:
        return True, math.inf
    mean = statistics.fmean(ended)
    return len(ended) < len(sample), -mean if task.measure.higher_is_better else mean
