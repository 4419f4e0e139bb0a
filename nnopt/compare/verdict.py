"""Each variant against its baseline: what is better, by how much and how sure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nnopt.compare.folds import overlap
from nnopt.compare.groups import Group
from nnopt.compare.measures import Measure
from nnopt.compare.sentences import quality_sentence, time_sentence
from nnopt.compare.statistics.difference import SAME_BITS, Difference, Interval, difference
from nnopt.compare.statistics.holm import holm
from nnopt.compare.statistics.power import seeds_needed
from nnopt.compare.target import TimeToTarget
from nnopt.compare.time_ratio import TimeRatio, time_ratio
from nnopt.spec.metric_names import OF_THE_RUN

ALPHA = 0.05
FEWEST = 3  # seeds below which a comparison is an anecdote


@dataclass(frozen=True)
class Verdict:
    """`label` against `baseline` in one measure; `difference` is label's values minus the baseline's.

    `p` is corrected by Holm's method over `comparisons`. `answer` is "better", "worse", "open", "same" (the same
    bits), "anecdote" (fewer than three seeds) or "none" (no values). `seeds_needed` a variant would settle an
    open one, were difference and spread as seen; None where more than a thousand would not, or nothing is open.
    `times` are the ratios of times to target by axis (steps, samples, gradient_evaluations, seconds).
    """

    label: str
    baseline: str
    measure: str
    higher_is_better: bool
    difference: Difference
    p: float | None
    comparisons: int
    answer: str
    seeds_needed: int | None
    sentence: str
    times: dict[str, TimeRatio]
    time_sentence: str | None


def verdicts(
    groups: Sequence[Group],
    baselines: Mapping[str, Group],
    measure: Measure,
    times: Mapping[str, TimeToTarget | None],
    without_axes: Collection[str] = (),
) -> tuple[Verdict, ...]:
    """A verdict on every group that has a baseline; `times` is label -> time to target.

    Times on the axes in `without_axes` are not compared.
    """
    pairs = [(group, baselines[group.label]) for group in groups if group.label in baselines]
    seen = [compared(group, other, measure) for group, other in pairs]
    corrected = holm([found.p for found in seen])
    comparisons = sum(found.p is not None for found in seen)
    ratios = [compared_times(group, other, times, without_axes) for group, other in pairs]
    axes = dict.fromkeys(axis for ratio in ratios for axis in ratio)
    for axis in axes:  # a family of its own: each axis answers one question
        of_axis = [ratio.get(axis) for ratio in ratios]
        for ratio, p in zip(ratios, holm([one.p if one else None for one in of_axis]), strict=True):
            if axis in ratio:
                ratio[axis] = replace(ratio[axis], p=p)
    return tuple(
        _verdict(pair, found, p, comparisons, measure, ratio, times)
        for pair, found, p, ratio in zip(pairs, seen, corrected, ratios, strict=True)
    )


def compared(group: Group, other: Group, measure: Measure) -> Difference:
    """The difference of two groups; exactly none where paired runs are the same bits."""
    a, b = measure.sample(group), measure.sample(other)
    found = difference(a, b, measure.step, dependence(group, other, measure))
    if found.estimate == 0 and a == b and same_bits(group, other):
        return replace(found, method=SAME_BITS, interval=Interval(0.0, 0.0), p=1.0, permutation_p=1.0)
    return found


def dependence(group: Group, other: Group, measure: Measure) -> float:
    """`overlap` where the measure is of what was learnt; what runs cost depends on no other run."""
    return 0.0 if measure.name in OF_THE_RUN else overlap(group, other)


def same_bits(group: Group, other: Group) -> bool:
    """Whether three runs or more, those of every seed, agree in all of metrics.csv but times, rates and memory."""
    others = {record.seed: record for record in other.results}
    return (
        len(group.results) >= FEWEST
        and not (group.lost or other.lost)
        and all(
            record.seed in others and _equal_columns(record.curve(), others[record.seed].curve())
            for record in group.results
        )
    )


def compared_times(
    group: Group, other: Group, times: Mapping[str, TimeToTarget | None], without_axes: Collection[str] = ()
) -> dict[str, TimeRatio]:
    """The ratios of two groups' times to one target by axis; exactly 1 (but for seconds) where they are the same bits.

    `times` is label -> time to target; axes that are not in both, or are in `without_axes`, are left out.
    """
    one, two = times.get(group.label), times.get(other.label)
    if one is None or two is None or one.target != two.target:
        return {}
    common = [axis for axis in one.axes if axis in two.axes and axis not in without_axes]
    ratios = {axis: time_ratio(one, two, axis, overlap(group, other)) for axis in common}
    if same_bits(group, other):
        equal = {axis: found for axis, found in ratios.items() if axis != "seconds"}
        ratios |= {
            axis: replace(found, method=SAME_BITS, ratio=1.0, interval=Interval(1.0, 1.0), p=1.0)
            for axis, found in equal.items()
        }
    return ratios


def _equal_columns(one: Mapping[str, object], two: Mapping[str, object]) -> bool:
    names = list(_untimed(one))
    return names == list(_untimed(two)) and len(names) > 1 and all(one[name] == two[name] for name in names)


def _untimed(curve: Mapping[str, object]) -> Iterator[str]:
    return (name for name in curve if not (name.endswith(("_seconds", "_per_second")) or name.startswith("memory_")))


def _verdict(
    pair: tuple[Group, Group],
    found: Difference,
    p: float | None,
    comparisons: int,
    measure: Measure,
    ratios: dict[str, TimeRatio],
    times: Mapping[str, TimeToTarget | None],
) -> Verdict:
    group, other = pair
    answer = _answer(found, p, measure.higher_is_better)
    needed = None
    if answer == "open":
        a, b = measure.sample(group), measure.sample(other)
        needed = seeds_needed(found, a, b, max(comparisons, 1), overlap=dependence(group, other, measure))
    verdict = Verdict(
        label=group.label,
        baseline=other.label,
        measure=measure.name,
        higher_is_better=measure.higher_is_better,
        difference=found,
        p=p,
        comparisons=comparisons,
        answer=answer,
        seeds_needed=needed,
        sentence="",
        times=ratios,
        time_sentence=None,
    )
    to_target = times.get(group.label)
    says_time = to_target is not None and ratios and answer != "same"
    return replace(
        verdict,
        sentence=quality_sentence(verdict, measure),
        time_sentence=time_sentence(verdict, to_target.target, comparisons) if to_target and says_time else None,
    )


def _answer(found: Difference, p: float | None, higher_is_better: bool) -> str:
    if found.method == SAME_BITS:
        return "same"
    if min(found.n) == 0:
        return "none"
    if found.p is None or p is None:
        return "anecdote"
    above = _above(found)
    if p >= ALPHA or above == 0:
        return "open"
    return "better" if (above > 0) == higher_is_better else "worse"


def _above(found: Difference) -> float:
    """Above 0 where the values of the first are larger: by ranks where diverged runs leave no mean."""
    if found.method == "ranks":
        return (found.superiority or 0.0) - 0.5
    return found.estimate or 0.0
