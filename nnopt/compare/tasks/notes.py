"""What a reader of numbers over several tasks has to know and cannot see in them: one sentence each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from nnopt.compare.groups import Group
from nnopt.compare.statistics.bootstrap import FEWEST_RUNS
from nnopt.compare.statistics.friedman import Friedman
from nnopt.compare.statistics.geometric import FEWEST_TASKS
from nnopt.compare.tasks.scores import Scores, Task
from nnopt.compare.text import listed

# Keys of the spec that make another task of it.
TASK_KEYS = ("data", "model", "loss")
# Below so many tasks one task moves a share by more than a tenth.
FEW_TASKS = 10
# Up to so many runs a task, intervals of interquartile means were seen to cover clearly less than they say.
FEW_RUNS = 10
LEVEL = 0.05


def task_of(group: Group) -> str:
    """The data, model and loss of a group's spec, as text to compare."""
    spec = group.records[0].summary.get("spec") or {}
    return json.dumps([spec.get(key) for key in TASK_KEYS], sort_keys=True, default=str)


def make_task_notes(
    tasks: Sequence[Task],
    variants: Sequence[str],
    axis: str,
    without_target: Sequence[str],
    medians: Mapping[str, Sequence[float | None]],
    scored: Scores,
    tested: Friedman | None,
) -> list[str]:
    """Sentences on the numbers, in the order of their weight; `medians` is {} without a common axis."""
    return [
        *_lost(tasks, variants),
        *_times(tasks, axis, without_target, medians),
        *_profiles(tasks, medians),
        *_scores(scored),
        *_test(tasks, variants, tested),
        *_alike(tasks, variants),
    ]


def _lost(tasks: Sequence[Task], variants: Sequence[str]) -> Iterator[str]:
    counts = {
        name: sum(math.isinf(value) for task in tasks for value in task.samples[name].values()) for name in variants
    }
    lost = [f"{name} {count}" for name, count in counts.items() if count]
    if lost:
        total = sum(counts.values())
        which = "1 run diverged and takes" if total == 1 else f"{total} runs diverged and take"
        yield f"{which} the worst value of the task ({listed(lost)})."


def _times(
    tasks: Sequence[Task],
    axis: str,
    without_target: Sequence[str],
    medians: Mapping[str, Sequence[float | None]],
) -> Iterator[str]:
    if without_target:
        unit = axis.replace("_", " ")
        yield f"No times across tasks: {listed(without_target)} has no target that all variants have, in {unit}."
    unsolved = [
        task.name for at, task in enumerate(tasks) if medians and all(row[at] is None for row in medians.values())
    ]
    if unsolved:
        yield f"No variant's median run reaches the target of {listed(unsolved)}: it counts against all."
    if medians and len(tasks) < FEWEST_TASKS:
        yield f"{len(tasks)} tasks give speed-ups and ranks no interval: that takes {FEWEST_TASKS}."


def _profiles(tasks: Sequence[Task], medians: Mapping[str, Sequence[float | None]]) -> Iterator[str]:
    if not medians:
        return
    yield (
        "Performance profiles depend on who takes part: they measure against the best of these variants, "
        "and with one more or less the others' shares can change, even their order."
    )
    if 0 < len(tasks) < FEW_TASKS:
        yield f"With {len(tasks)} tasks a profile has steps of {100 / len(tasks):.0f} points: one task each."


def _scores(scored: Scores) -> Iterator[str]:
    if scored.left_out:
        which = f"{listed(scored.left_out)} {'has' if len(scored.left_out) == 1 else 'have'}"
        yield f"{which} no scores: all variants have the same mean there."
    runs = [len(task) for values in scored.values.values() for task in values]
    if not runs:
        return
    if min(runs) < FEWEST_RUNS:
        yield f"Interquartile means have no interval where a task has fewer than {FEWEST_RUNS} runs."
    elif min(runs) <= FEW_RUNS:
        yield (
            f"With {min(runs)} runs a task, the intervals of interquartile means cover about 92 % instead of 95 %, "
            "less where errors are skewed."
        )
    if any(len({len(task) for task in values}) > 1 for values in scored.values.values()):
        yield "The tasks have different numbers of runs: those with more weigh more in interquartile means."


def _test(tasks: Sequence[Task], variants: Sequence[str], tested: Friedman | None) -> Iterator[str]:
    if tested and tested.smallest_p > LEVEL:
        yield (
            f"{len(tasks)} tasks and {len(variants)} variants allow Friedman's test no p "
            f"below {tested.smallest_p:.2g}: more tasks would."
        )


def _alike(tasks: Sequence[Task], variants: Sequence[str]) -> Iterator[str]:
    same: dict[str, list[str]] = {}
    for task in tasks:
        same.setdefault("".join(task_of(task.groups[name]) for name in variants), []).append(task.name)
    for names in same.values():
        if len(names) > 1:
            yield f"{listed(names)} have the same data, model and loss: they count as {len(names)} tasks, and are not."
