"""Several tasks together: performance profiles, speed-ups, interquartile means and ranks."""

from __future__ import annotations

import math
from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.pictures.figure import MOST_LINES
from nnopt.compare.report.charts import figure
from nnopt.compare.report.lists import shorten
from nnopt.compare.report.look import legend, look
from nnopt.compare.report.markup import Markup, element, join, section, sentences, table
from nnopt.compare.sentences import show_p
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.profiles import share_within
from nnopt.compare.tasks.across import AcrossTasks
from nnopt.compare.text import ABSENT, listed, show_quantity

FACTORS = (1.0, 1.5, 2.0, 4.0)  # tau at which the profiles are given in numbers


def across_part(comparison: Comparison) -> tuple[Markup, dict[str, Any]]:
    """The section, and what its script reads; nothing where there is one task."""
    across = comparison.across
    if across is None:
        return Markup(), {}
    chart, value = _profiles(across) if across.profiles else (Markup(), {})
    parts = [
        element("p", f"{len(across.tasks)} tasks: {listed(across.tasks, 8)}. Baseline: {across.baseline}."),
        _summary_table(across),
        _times_table(across) if across.times else "",
        chart,
        sentences([*across.notes, *(_left_out(across))], class_="notes"),
    ]
    return section("tasks", "Across tasks", *parts), value


def _summary_table(across: AcrossTasks) -> Markup:
    """A row a variant: mean rank, interquartile mean, speed-up, score of the profile."""
    speedups = {one.variant: one for one in across.speedups}
    scores = across.profile_scores
    rows = []
    for name in across.variants:
        cells = [name, _with(across.ranks.get(name), ".2f"), _with(across.iqm.get(name), ".4g")]
        if across.speedups:
            one = speedups.get(name)
            cells.append(_with((one.factor, one.interval), ".3g") if one else "1 (baseline)")
        if scores:
            cells.append(f"{scores[name]:.3f}")
        rows.append(cells)
    titles = ["variant", f"mean rank by {across.ranked_by}", f"interquartile mean, {across.score}"]
    titles += [f"speed-up in {str(across.axis).replace('_', ' ')}"] if across.speedups else []
    titles += ["profile score"] if scores else []
    text = ["A rank of 1 is the best; a speed-up above 1 is faster than the baseline. In brackets: 95 % intervals."]
    if across.friedman_p is not None:
        text.append(f"Friedman's test that all ranks are alike: {show_p(across.friedman_p)}.")
    return join(
        [table("All tasks together", titles, rows, is_sortable=True), element("p", " ".join(text), class_="hint")]
    )


def _with(found: tuple[float | None, Interval | None] | None, form: str) -> str:
    """A number and, in brackets, its interval."""
    if found is None or found[0] is None:
        return ABSENT
    value, interval = found
    if interval is None:
        return f"{value:{form}}"
    ends = " to ".join("no bound" if math.isinf(end) else f"{end:{form}}" for end in (interval.low, interval.high))
    return f"{value:{form}} ({ends})"


def _times_table(across: AcrossTasks) -> Markup:
    rows = [
        [name, *("not reached" if time is None else show_quantity(time) for time in across.times[name])]
        for name in across.variants
    ]
    axis = str(across.axis).replace("_", " ")
    return table(f"Median {axis} to the target of each task", ["variant", *across.tasks], rows)


def _left_out(across: AcrossTasks) -> list[str]:
    return list(dict.fromkeys(text for one in across.speedups for text in one.left_out))


def _profiles(across: AcrossTasks) -> tuple[Markup, dict[str, Any]]:
    """Steps: the share of tasks in which a variant's time is within a factor of the best."""
    drawn = across.variants[:MOST_LINES]
    steps = {name: [step for step in across.profiles[name] if math.isfinite(step[0])] for name in drawn}
    end = max((tau for of_one in steps.values() for tau, _ in of_one), default=1.0)
    far = max(1.2 * end, 2.0)
    lines = [
        {
            "label": name,
            **look(index),
            "x": [shorten(tau) for tau, _ in steps[name]] + [shorten(far)],
            "y": [shorten(share) for _, share in steps[name]] + [shorten(steps[name][-1][1])],
        }
        for index, name in enumerate(drawn)
    ]
    rows = [
        [name, *(f"{100 * share_within(across.profiles[name], tau):.0f} %" for tau in FACTORS)]
        for name in across.variants
    ]
    titles = ["variant", "the fastest", *(f"within {tau:g} times" for tau in FACTORS[1:])]
    numbers = table("Share of tasks within a factor of the best time", titles, rows)
    axis = str(across.axis).replace("_", " ")
    first = listed([f"{name} {100 * share_within(across.profiles[name], 1.0):.0f} %" for name in drawn], 8)
    summary = f"Performance profiles over {len(across.tasks)} tasks in {axis}. Fastest in: {first} of the tasks."
    chart = figure("profiles", summary, None, legend("profiles", list(drawn)), numbers)
    return chart, {"axis": axis, "groups": lines}
