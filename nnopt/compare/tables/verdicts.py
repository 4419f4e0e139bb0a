"""Verdicts as rows: for programs (a column a number) and for people (a column a text)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnopt.compare.comparison import Comparison
from nnopt.compare.measures import Measure
from nnopt.compare.sentences import AXES, is_beyond, show_difference, show_n, show_range
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.text import ABSENT
from nnopt.compare.verdict import Verdict

Cell = str | int | float | None


def verdict_cells(verdict: Verdict | None) -> dict[str, Cell]:
    """One verdict for programs, None where there is none; an end of an interval without bound is `inf` or `-inf`.

    `p` is corrected by Holm's method, `beats` is the probability that a run of the variant is better than one of
    the baseline, `<axis>_ratio` the variant's time to target by the baseline's.
    """
    found = verdict.difference if verdict else None
    cells: dict[str, Cell] = {
        "baseline": verdict.baseline if verdict else None,
        "answer": verdict.answer if verdict else None,
        "difference": plain(found.estimate) if found else None,
        "difference_low": plain(found.interval.low) if found and found.interval else None,
        "difference_high": plain(found.interval.high) if found and found.interval else None,
        "method": found.method if found else None,
        "n": found.n[0] if found else None,
        "n_baseline": found.n[1] if found else None,
        "p": verdict.p if verdict else None,
        "permutation_p": found.permutation_p if found else None,
        "smallest_permutation_p": found.smallest_p if found else None,
        "effect_size": found.effect_size if found else None,
        "beats": beats(verdict) if verdict else None,
        "seeds_needed": verdict.seeds_needed if verdict else None,
    }
    for axis in AXES:
        ratio = verdict.times.get(axis) if verdict else None
        cells |= {
            f"{axis}_ratio": plain(ratio.ratio) if ratio else None,
            f"{axis}_ratio_low": plain(ratio.interval.low) if ratio and ratio.interval else None,
            f"{axis}_ratio_high": plain(ratio.interval.high) if ratio and ratio.interval else None,
            f"{axis}_ratio_p": ratio.p if ratio else None,
        }
    return cells


def verdict_header(comparison: Comparison) -> list[str]:
    """Titles of `verdict_texts`."""
    sign = "better when higher" if comparison.higher_is_better else "better when lower"
    axes = [f"{AXES[axis]} to target" for axis in _axes(comparison)]
    return [
        "variant",
        "against",
        f"{comparison.metric} ({sign})",
        "interval (95 %)",
        "p (Holm)" if any(verdict.comparisons > 1 for verdict in comparison.verdicts) else "p",
        "permutation p",
        "g",
        "P(better)",
        "n",
        *axes,
    ]


def verdict_texts(comparison: Comparison) -> list[list[str]]:
    """One row a verdict for people, in the order of the ranking."""
    axes = _axes(comparison)
    order = {label: place for place, label in enumerate(comparison.ranking)}
    judged = sorted(comparison.verdicts, key=lambda verdict: order[verdict.label])
    return [_texts(verdict, comparison.measure, axes) for verdict in judged]


def _axes(comparison: Comparison) -> list[str]:
    """The axes of time to target that say something of their own: samples often follow from steps."""
    kept: list[str] = []
    seen: list[list[tuple[float | None, Interval | None] | None]] = []
    for axis in AXES:
        ratios = [verdict.times.get(axis) for verdict in comparison.verdicts]
        found = [(ratio.ratio, ratio.interval) if ratio else None for ratio in ratios]
        if any(found) and not any(_alike(found, other) for other in seen):
            kept.append(axis)
            seen.append(found)
    return kept


def _alike(one: Sequence[tuple[float | None, Interval | None] | None], two: Sequence[object]) -> bool:
    """Whether two axes show the same ratios."""
    return [_shown(ratio) for ratio in one] == [_shown(ratio) for ratio in two]  # type: ignore[arg-type]


def _shown(ratio: tuple[float | None, Interval | None] | None) -> object:
    return ratio and (ratio[0] and f"{ratio[0]:.2f}", ratio[1] and _ends(ratio[1]))


def _texts(verdict: Verdict, measure: Measure, axes: Sequence[str]) -> list[str]:
    found = verdict.difference
    smallest = f" (at least {found.smallest_p:.2g})" if found.smallest_p is not None else ""
    probability = beats(verdict)
    return [
        verdict.label,
        verdict.baseline,
        show_difference(found, measure) if found.estimate is not None else ABSENT,
        show_range(found.interval, measure) if found.interval and not is_beyond(found.interval) else ABSENT,
        ABSENT if verdict.p is None else f"{verdict.p:.2g}",
        ABSENT if found.permutation_p is None else f"{found.permutation_p:.2g}{smallest}",
        ABSENT if found.effect_size is None else f"{found.effect_size:+.2f}",
        ABSENT if probability is None else f"{probability:.2f}",
        show_n(found).removeprefix("n = "),
        *(_time(verdict, axis) for axis in axes),
    ]


def _time(verdict: Verdict, axis: str) -> str:
    ratio = verdict.times.get(axis)
    if ratio is None or (ratio.ratio is None and ratio.interval is None):
        return ABSENT
    shown = "?" if ratio.ratio is None else f"{ratio.ratio:.2f}"
    return f"x {shown}{_ends(ratio.interval)}"


def _ends(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return (
        " ("
        + " to ".join("no bound" if math.isinf(end) else f"{end:.2f}" for end in (interval.low, interval.high))
        + ")"
    )


def beats(verdict: Verdict) -> float | None:
    """The probability that a run of the variant is better than one of its baseline, ties counted half."""
    superiority = verdict.difference.superiority
    if superiority is None:
        return None
    return superiority if verdict.higher_is_better else 1.0 - superiority


def plain(value: float | None) -> Cell:
    """Infinity as text: JSON has none."""
    if value is None or math.isfinite(value):
        return value
    return "inf" if value > 0 else "-inf"
