"""The curves: two panels that share their axis, each with a column of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.report.charts import controls, figure, select
from nnopt.compare.report.curve_data import AXES, CurveData, curve_data
from nnopt.compare.report.lists import Lists
from nnopt.compare.report.look import legend
from nnopt.compare.report.markup import Markup, element, section, sentences
from nnopt.compare.text import listed, show_spread

SCALES = {"linear": "linear", "log": "logarithmic"}
SEEDS = {"bands": "mean and band", "lines": "a line a run"}
SMOOTHING = {"1": "none", "3": "mean of 3 neighbours", "7": "mean of 7 neighbours", "15": "mean of 15 neighbours"}
MOST_HIDDEN_NAMED = 6


def curves_part(comparison: Comparison, lists: Lists) -> tuple[Markup, dict[str, Any]]:
    """The section, and what its script reads."""
    data = curve_data(comparison, lists)
    if not data.columns or not data.value["axes"]:
        return section("curves", "Curves", element("p", "No run has a row in metrics.csv.")), {}
    labels = [group["label"] for group in data.value["groups"]]
    shared = controls(
        select("curves-against", "Against", data.value["axes"]),
        select("curves-x-scale", "Horizontal scale", SCALES),
        select("curves-seeds", "Seeds", SEEDS),
        select("curves-smoothing", "Smoothing", SMOOTHING),
        label="Both charts",
    )
    panels = [
        _panel(comparison, data, name, column)
        for name, column in zip(("first", "second"), data.columns[:2], strict=False)
    ]
    both = element("div", *panels, class_="panels")
    made = section("curves", "Curves", shared, legend("curves", labels), both, sentences(_said(comparison, data)))
    return made, data.value


def _panel(comparison: Comparison, data: CurveData, name: str, column: str) -> Markup:
    scale = "log" if data.value["columns"][column]["log"] else "linear"
    choices = controls(
        select(f"{name}-column", "Column", {name: name for name in data.columns}, column),
        select(f"{name}-scale", "Vertical scale", SCALES, scale),
        label=f"Chart of {column}",
    )
    return figure(name, _summary(comparison, data, column), choices)


def _summary(comparison: Comparison, data: CurveData, column: str) -> str:
    axis = AXES[next(iter(data.value["axes"]))]
    text = f"{column} against {axis}, {len(data.value['groups'])} variants"
    if column != comparison.metric:
        return f"{text}."
    ends = [f"{row.label} {show_spread(row.last)}" for row in comparison.rows if row.last is not None]
    return f"{text}; at the end {listed(ends, 8)}."


def _said(comparison: Comparison, data: CurveData) -> Sequence[str]:
    """What one has to know to read the curves."""
    said = [
        (
            "A band is one standard deviation to either side of the mean over the seeds, drawn where the seeds have "
            "steps in common; a variant without such steps has a line a run."
        ),
        (
            "A cross is the last finite value of a run that diverged, at the edge of the chart where it lies beyond; a "
            "dotted line is the target."
        ),
        "Smoothing takes the mean of neighbouring points; the points themselves stay visible.",
    ]
    if any(group.unfinished for group in comparison.groups[: len(data.value["groups"])]):
        said.append("Thin lines without markers are runs that have not ended: they are in no mean.")
    if data.thinned:
        said.append(
            "To keep this page small not every evaluation is drawn: of each stretch the first, and the least and the "
            "greatest value of the first two columns. Means are taken before."
        )
    if data.hidden:
        said.append(f"Columns not on this page: {listed(data.hidden, MOST_HIDDEN_NAMED)}.")
    hidden = len(comparison.groups) - len(data.value["groups"])
    if hidden:
        said.append(f"The first {len(data.value['groups'])} variants of the ranking are drawn, {hidden} more are not.")
    return said
