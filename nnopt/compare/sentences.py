"""Verdicts in a sentence that a colleague can use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnopt.compare.measures import Measure
from nnopt.compare.statistics.difference import CORRECTED, SAME_BITS, Difference, Interval
from nnopt.compare.target import Target

if TYPE_CHECKING:
    from nnopt.compare.time_ratio import TimeRatio
    from nnopt.compare.verdict import Verdict

MOST_SEEDS = 1000
MOST_DECIMALS = 8
AXES = {"steps": "steps", "samples": "samples", "gradient_evaluations": "gradient evaluations", "seconds": "seconds"}


def quality_sentence(verdict: Verdict, measure: Measure) -> str:
    """`adam is better than sgd in val_accuracy: +1.69 points (0.52 to 2.86, n = 5 pairs, p = 0.012)`."""
    return _BY_ANSWER[verdict.answer](verdict, measure)


def _decided(verdict: Verdict, measure: Measure) -> str:
    return (
        f"{verdict.label} is {verdict.answer} than {verdict.baseline} in {measure.name}"
        f"{_amount(verdict, measure)}{_lost(verdict)}"
    )


def _open(verdict: Verdict, measure: Measure) -> str:
    found = verdict.difference
    if found.interval == Interval(0.0, 0.0):
        return (
            f"open: every run of {verdict.label} and {verdict.baseline} has the same {measure.name} ({show_n(found)}); "
            "a finer metric would tell more"
        )
    return (
        f"open: {verdict.label} and {verdict.baseline} are not told apart in {measure.name}"
        f"{_amount(verdict, measure)}{_lost(verdict)}; {_needed(verdict)}"
    )


def _amount(verdict: Verdict, measure: Measure) -> str:
    """`: +1.69 points (0.52 to 2.86, n = 5 pairs, p = 0.012)`, without what diverged runs leave unknown."""
    found = verdict.difference
    known = f": {show_difference(found, measure)}" if found.estimate is not None else ""
    interval = f"{show_range(found.interval, measure)}, " if found.interval and not is_beyond(found.interval) else ""
    return f"{known} ({interval}{show_n(found)}, {show_p(verdict.p)}{_corrected(verdict.comparisons)})"


def is_beyond(interval: Interval) -> bool:
    """Whether all of it lies beyond every number: where diverged runs decide both ends."""
    return math.isinf(interval.low) and interval.low == interval.high


def _needed(verdict: Verdict) -> str:
    found = verdict.difference
    if verdict.seeds_needed is not None:
        more = max(verdict.seeds_needed - min(found.n), 1)
        return (
            f"about {more} more seed{'s' if more > 1 else ''} of each ({verdict.seeds_needed} in all) "
            "would settle a difference of this size"
        )
    if found.p is not None and found.smallest_p is not None and found.method == "ranks" and found.smallest_p >= 0.05:
        return f"{show_n(found)} allows no p below {found.smallest_p:.2g}: train more seeds"
    if found.method.startswith(CORRECTED):
        return "more partitions of the same rows would not settle so small a difference: it takes more data"
    return f"not even {MOST_SEEDS:,} seeds would settle so small a difference"


def _anecdote(verdict: Verdict, measure: Measure) -> str:
    found = verdict.difference
    seeds = min(found.n)
    shown = f": {show_difference(found, measure)} in {measure.name}" if found.estimate is not None else ""
    return (
        f"anecdote: {verdict.label} against {verdict.baseline} on {seeds} seed{'s' if seeds != 1 else ''}{shown}"
        f"{_lost(verdict)}; train at least 3 seeds of each"
    )


def _same(verdict: Verdict, measure: Measure) -> str:
    return f"{verdict.label} and {verdict.baseline} are the same bits in all {verdict.difference.n[0]} pairs of runs"


def _none(verdict: Verdict, measure: Measure) -> str:
    a, b = verdict.difference.n
    which = verdict.label if a == 0 else verdict.baseline
    if a == b == 0:
        which = f"{verdict.label} and {verdict.baseline}"
    return (
        f"no verdict on {verdict.label} against {verdict.baseline}: no run of {which} has ended with a {measure.name}"
    )


_BY_ANSWER = {
    "better": _decided,
    "worse": _decided,
    "open": _open,
    "anecdote": _anecdote,
    "same": _same,
    "none": _none,
}


def time_sentence(verdict: Verdict, target: Target, comparisons: int, axis: str = "steps") -> str | None:
    """`adam reaches val_accuracy 0.97 in 0.61 of sgd's steps (0.55 to 0.68, n = 5 pairs, p = 0.002)`."""
    found = verdict.times.get(axis)
    if found is None:
        return None
    goal = f"{target.metric} {target.value:g}"
    (a, b), (all_a, all_b) = found.reached, found.n
    if a == 0 and b == 0:
        return f"no run of {verdict.label} or {verdict.baseline} reached {goal}"
    misses = ", ".join(
        f"{reached} of {runs} runs of {name} got there"
        for name, reached, runs in ((verdict.label, a, all_a), (verdict.baseline, b, all_b))
        if reached < runs
    )
    sure = ", ".join(
        filter(
            None,
            [
                f"{_factor(found.interval.low)} to {_factor(found.interval.high)}" if found.interval else "",
                _n_of_times(found),
                (show_p(found.p) + _corrected(comparisons)) if found.p is not None else "an anecdote",
                "log-rank" if found.p is not None and found.method == "log-rank" else "",
            ],
        )
    )
    end = f"; {misses}" if misses else ""
    if found.ratio is None:
        return f"{verdict.label} reached {goal} in {a} of {all_a} runs, {verdict.baseline} in {b} of {all_b} ({sure})"
    return (
        f"{verdict.label} reaches {goal} in {_factor(found.ratio)} of {verdict.baseline}'s {AXES[axis]} ({sure}){end}"
    )


def _n_of_times(found: TimeRatio) -> str:
    if found.method.removeprefix(f"{CORRECTED} ").startswith("paired"):
        return f"n = {found.n[0]} pairs"
    return f"n = {found.n[0]}" if found.n[0] == found.n[1] else f"n = {found.n[0]} and {found.n[1]}"


def show_n(found: Difference) -> str:
    """`n = 5 pairs`, `n = 5`, or `n = 5 and 3`."""
    a, b = found.n
    if found.paired or found.method == SAME_BITS:
        return f"n = {a} pairs"
    return f"n = {a}" if a == b else f"n = {a} and {b}"


def show_p(p: float | None) -> str:
    """`p = 0.012`, `p < 0.0001`."""
    if p is None:
        return "no p"
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.995 else "p = 1"


def show_difference(found: Difference, measure: Measure) -> str:
    """`+1.69 points` for shares, else the number in the measure's own unit."""
    if found.estimate is None:
        return "no typical difference"
    if math.isinf(found.estimate):
        return "more than any number" if found.estimate > 0 else "less than any number"
    scale, unit = (100.0, " points") if measure.is_share else (1.0, "")
    value, decimals = scale * found.estimate, _decimals(found, scale)
    if abs(value) >= 1e7 or (value and decimals == MOST_DECIMALS):
        return f"{value:+.2e}{unit}"
    rounded = round(value, decimals) or 0.0  # no -0.0
    return f"{rounded:+.{decimals}f}{unit}"


def show_range(interval: Interval | None, measure: Measure) -> str:
    """`0.52 to 2.86`; `-inf` and `inf` are `no bound`."""
    if interval is None:
        return "no interval"
    scale = 100.0 if measure.is_share else 1.0
    ends = [scale * interval.low, scale * interval.high]
    known = [abs(end) for end in ends if math.isfinite(end) and end]
    width = abs(ends[1] - ends[0]) if all(map(math.isfinite, ends)) else max(known, default=1.0)
    decimals = decimals_for(width)
    return " to ".join("no bound" if math.isinf(end) else _number(end, decimals) for end in ends)


def _number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def decimals_for(width: float) -> int:
    """Decimals that show a width with two digits."""
    return 0 if width >= 10 else min(max(1 - math.floor(math.log10(width)), 0), MOST_DECIMALS) if width > 0 else 4


def _decimals(found: Difference, scale: float) -> int:
    interval = found.interval
    finite = interval is not None and math.isfinite(interval.low) and math.isfinite(interval.high)
    width = (
        scale * (interval.high - interval.low) if interval is not None and finite else scale * abs(found.estimate or 0)
    )
    return decimals_for(width)


def _factor(value: float) -> str:
    if math.isinf(value):
        return "no bound"
    return f"{value:.2f}" if 0.1 <= value < 100 or value == 0 else f"{value:.3g}"


def _corrected(comparisons: int) -> str:
    return f" after Holm over {comparisons}" if comparisons > 1 else ""


def _lost(verdict: Verdict) -> str:
    a, b = verdict.difference.lost
    said = [
        f"{lost} of {runs} runs of {name} diverged"
        for name, lost, runs in (
            (verdict.label, a, verdict.difference.n[0]),
            (verdict.baseline, b, verdict.difference.n[1]),
        )
        if lost
    ]
    return f"; {' and '.join(said)} and rank{'s' if a + b == 1 else ''} worst" if said else ""
