"""Time to target as Kaplan-Meier steps: the share of runs that got there."""

from __future__ import annotations

import math
from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.pictures.figure import MOST_LINES
from nnopt.compare.report.charts import controls, figure, select
from nnopt.compare.report.lists import shorten
from nnopt.compare.report.look import legend, look
from nnopt.compare.report.markup import Markup, element, section, sentences, table
from nnopt.compare.rows import Row
from nnopt.compare.sentences import AXES
from nnopt.compare.statistics.survival import Times, kaplan_meier
from nnopt.compare.text import ABSENT, listed, show_quantity

HOW_TO = "There is no target, so no time to it: compare with --target VALUE, or give evaluation.target in the spec."


def survival_part(comparison: Comparison) -> tuple[Markup, dict[str, Any]]:
    """The section, and what its script reads."""
    rows = [row for row in comparison.rows if row.to_target is not None]
    axes = {axis: name for axis, name in AXES.items() if any(_times(row, axis) for row in rows)}
    if not axes:
        return section("target", "Time to target", element("p", HOW_TO)), {}
    drawn = rows[:MOST_LINES]
    title = _title(comparison)
    choice = controls(select("target-axis", "Counted in", axes), label="Time to target")
    parts = [
        figure(
            "target",
            _summary(title, drawn, next(iter(axes))),
            choice,
            legend("target", [row.label for row in drawn], [comparison.rows.index(row) for row in drawn]),
            _table(rows, axes),
        )
    ]
    said = [
        (
            "A step is an evaluation at which a run was first seen at the target; the run got there between the "
            "evaluation before and this one."
        ),
        (
            "A stroke is the end of a run that did not get there: it is censored, neither dropped nor given a time. A "
            "run that diverged never gets there."
        ),
    ]
    if len(rows) > len(drawn):
        said.append(f"The first {len(drawn)} variants of the ranking are drawn, {len(rows) - len(drawn)} more are not.")
    lines = [{"label": row.label, **look(comparison.rows.index(row)), "axes": _lines(row, axes)} for row in drawn]
    value = {"axes": axes, "title": title, "groups": lines}
    return section("target", "Time to target", *parts, sentences(said)), value


def _title(comparison: Comparison) -> str:
    target = comparison.target
    return f"{target.metric} {target.value:g}" if target else "the target of each"


def _times(row: Row, axis: str) -> Times | None:
    found = row.to_target.axes.get(axis) if row.to_target else None
    return found.times if found else None


def _lines(row: Row, axes: dict[str, str]) -> dict[str, Any]:
    return {axis: _steps(times) for axis in axes if (times := _times(row, axis)) is not None}


def _steps(times: Times) -> dict[str, list[Any]]:
    """The curve from (0, 0) by its steps to the end of what was watched, and the censored runs on it."""
    curve = kaplan_meier(times.high, times.reached)
    ends = [end for end in (*times.end, *times.high) if math.isfinite(end)]
    x = [0.0, *curve.times, max(ends, default=0.0)]
    y = [0.0, *(1 - share for share in curve.survival)]
    y.append(y[-1])
    ended = zip(times.high, times.reached, strict=True)
    lost = sorted({time for time, reached in ended if not reached and math.isfinite(time)})
    return {
        "x": [shorten(value) for value in x],
        "y": [shorten(value) for value in y],
        "censored_x": [shorten(value) for value in lost],
        "censored_y": [shorten(1 - curve.at(value)) for value in lost],
    }


def _table(rows: list[Row], axes: dict[str, str]) -> Markup:
    cells = []
    for row in rows:
        found = row.to_target
        assert found is not None
        share = f"{100 * found.success.low:.0f} to {100 * found.success.high:.0f} %"
        medians = [show_quantity(found.axes[axis].median) if axis in found.axes else ABSENT for axis in axes]
        cells.append([row.label, f"{found.reached} of {found.runs}", share, *medians])
    titles = ["variant", "got there", "95 % of that share", *(f"median {name}" for name in axes.values())]
    return table("Runs that got to the target, and the Kaplan-Meier medians", titles, cells)


def _summary(title: str, rows: list[Row], axis: str) -> str:
    ends = []
    for row in rows:
        found = row.to_target
        if found is None or axis not in found.axes:
            continue
        median = found.axes[axis].median
        when = f"median {show_quantity(median)} {AXES[axis]}" if median is not None else "fewer than half"
        ends.append(f"{row.label} {found.reached} of {found.runs} runs, {when}")
    return f"Share of runs that got to {title}: {listed(ends, 8)}."
