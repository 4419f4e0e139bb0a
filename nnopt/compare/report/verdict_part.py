"""The verdict: sentences first, gates, what is unfair, what was left out, and the statistics behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnopt.compare.comparison import Comparison
from nnopt.compare.gates import GateResult
from nnopt.compare.report.markup import Markup, element, join, section, sentences, table
from nnopt.compare.sentences import show_difference, show_n, show_p, show_range
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.tables.verdicts import beats
from nnopt.compare.text import ABSENT, best_sentence
from nnopt.compare.verdict import Verdict

# Answer -> a sign that is seen without its colour, and the word.
ANSWERS = {
    "better": ("▲", "better"),
    "worse": ("▼", "worse"),
    "open": ("?", "open"),
    "same": ("=", "same bits"),
    "anecdote": ("·", "anecdote"),
    "none": ("–", "no value"),
}
STATES = {"held": ("✓", "held"), "broken": ("✗", "broken"), "undecided": ("?", "undecided")}
BAR_WIDTH, BAR_HEIGHT = 160, 18
MOST_OPEN = 12  # rows of a table that stands open


def verdict_part(comparison: Comparison, gates: Sequence[GateResult]) -> Markup:
    """The best variant, a sentence on each against its baseline, and the gates."""
    best = best_sentence(comparison)
    items = [
        _judged(_badge(*ANSWERS[one.answer], one.answer), _said(one.sentence, one.answer), one.time_sentence)
        for one in by_rank(comparison)
    ]
    listed = element("ul", *items, class_="verdicts") if items else element("p", "There is nothing to compare it with.")
    parts = [element("p", best[0].upper() + best[1:], class_="lead"), listed]
    if gates:
        held = sum(gate.state == "held" for gate in gates)
        checked = [_judged(_badge(*STATES[gate.state], gate.state), _said(gate.sentence, gate.state)) for gate in gates]
        parts += [element("h3", f"Gates: {held} of {len(gates)} held"), element("ul", *checked, class_="verdicts")]
    return section("verdict", "Verdict", *parts)


def by_rank(comparison: Comparison) -> list[Verdict]:
    """The verdicts in the order of the ranking."""
    order = {label: place for place, label in enumerate(comparison.ranking)}
    return sorted(comparison.verdicts, key=lambda one: order[one.label])


def _said(sentence: str, badge: str) -> str:
    """The sentence without the word that its badge says already."""
    return sentence.removeprefix(f"{badge}: ")


def _judged(badge: Markup, *texts: str | None) -> Markup:
    return element("li", badge, element("div", *(element("p", text) for text in texts if text)))


def _badge(sign: str, word: str, kind: str) -> Markup:
    return element("span", element("span", sign, aria_hidden="true"), f" {word}", class_=f"badge {kind}")


def findings_part(comparison: Comparison) -> Markup:
    """What is unfair in the comparison, each with what to do."""
    items = [
        element("li", element("p", found.text), element("p", "What to do: " + found.advice, class_="advice"))
        for found in comparison.findings
    ]
    shown = element("ul", *items, class_="findings") if items else element("p", "Nothing unfair was found.")
    return section("fairness", "Is the comparison fair?", shown)


def left_out_part(comparison: Comparison) -> Markup:
    """Runs that are in no number, and why."""
    return section(
        "left-out",
        "What was left out",
        sentences(comparison.left_out) or element("p", "Every run given is in the numbers."),
    )


def details_part(comparison: Comparison) -> Markup:
    """The statistics of every verdict, and of the times to target."""
    if not comparison.verdicts:
        return Markup()
    made = [_differences(comparison)]
    if any(one.times for one in comparison.verdicts):
        made.append(_times(by_rank(comparison)))
    return section("statistics", "The statistics behind the verdict", *made)


def _differences(comparison: Comparison) -> Markup:
    titles = ["variant", "against", "difference", "95 % interval", "p", "permutation p", "effect size g"]
    titles += ["beats it in", "runs", "method"]
    scale = _scale(comparison.verdicts)
    rows = [_difference_cells(comparison, one, scale) for one in by_rank(comparison)]
    numbers = [False, False, True, True, True, True, True, True, True, False]
    caption = f"Differences in {comparison.metric}: the variant's values minus those of what it is held against"
    most = max(one.comparisons for one in comparison.verdicts)
    said = [f"p is corrected by Holm's method over {most} comparisons."] if most > 1 else []
    said += ["“Beats it in” is the share of pairs of runs in which the variant's value is the better one."]
    return join([table(caption, titles, rows, numbers), element("p", " ".join(said), class_="hint")])


def _difference_cells(comparison: Comparison, one: Verdict, scale: float | None) -> list[str]:
    found, measure = one.difference, comparison.measure
    share = beats(one)
    permutation = ABSENT
    if found.permutation_p is not None:
        permutation = show_p(found.permutation_p).removeprefix("p = ")
        if found.smallest_p is not None:
            permutation += f" (least possible {found.smallest_p:.2g})"
    shown = show_range(found.interval, measure) if found.interval else ABSENT
    return [
        one.label,
        one.baseline,
        show_difference(found, measure) if min(found.n) else ABSENT,
        join([shown, _bar(found.estimate, found.interval, scale)]),
        ABSENT if one.p is None else show_p(one.p).removeprefix("p = "),
        permutation,
        ABSENT if found.effect_size is None else f"{found.effect_size:+.2f}",
        ABSENT if share is None else f"{100 * share:.0f} %",
        show_n(found).removeprefix("n = "),
        found.method,
    ]


def _scale(verdicts: Sequence[Verdict]) -> float | None:
    """The largest finite number among estimates and ends of intervals; None without one above 0."""
    known = [
        abs(value)
        for one in verdicts
        for value in (one.difference.estimate, *_ends(one))
        if value is not None and math.isfinite(value) and value
    ]
    return max(known, default=None)


def _ends(one: Verdict) -> tuple[float, ...]:
    interval = one.difference.interval
    return (interval.low, interval.high) if interval else ()


def _bar(estimate: float | None, interval: Interval | None, scale: float | None) -> Markup:
    """The interval as a line around its estimate, with a stroke at no difference."""
    if scale is None or estimate is None or not math.isfinite(estimate):
        return Markup()
    middle, half = BAR_WIDTH / 2, BAR_WIDTH / 2 - 5

    def at(value: float) -> float:
        return round(middle + half * max(-1.04, min(1.04, value / scale)), 1)

    line = ""
    if interval:
        low, high = at(interval.low), at(interval.high)
        line = element("path", d=f"M{low} {BAR_HEIGHT / 2}H{high}M{low} 5V13M{high} 5V13", class_="interval")
    zero = element("path", d=f"M{middle} 0V{BAR_HEIGHT}", class_="zero")
    point = element("circle", cx=str(at(estimate)), cy=str(BAR_HEIGHT / 2), r=4, class_="estimate")
    return element(
        "svg",
        zero,
        line,
        point,
        class_="bar",
        viewBox=f"0 0 {BAR_WIDTH} {BAR_HEIGHT}",
        width=BAR_WIDTH,
        height=BAR_HEIGHT,
        aria_hidden="true",
    )


def _times(verdicts: Sequence[Verdict]) -> Markup:
    titles = ["variant", "against", "counted in", "ratio", "95 % interval", "p", "got there", "method"]
    rows = [
        [
            one.label,
            one.baseline,
            axis.replace("_", " "),
            _number(found.ratio),
            f"{_number(found.interval.low)} to {_number(found.interval.high)}" if found.interval else ABSENT,
            ABSENT if found.p is None else show_p(found.p).removeprefix("p = "),
            f"{found.reached[0]} of {found.n[0]} against {found.reached[1]} of {found.n[1]}",
            found.method,
        ]
        for one in verdicts
        for axis, found in one.times.items()
    ]
    caption = "Time to target: the variant's time by that of what it is held against (below 1 is faster)"
    made = table(caption, titles, rows, [False, False, False, True, True, True, True, False])
    return element("details", element("summary", "Ratios of times to target"), made, open=len(rows) <= MOST_OPEN)


def _number(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.3g}" if math.isfinite(value) else "no bound"
