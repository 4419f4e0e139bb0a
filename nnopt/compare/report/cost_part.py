"""What quality costs: seconds, memory, parameters, energy, and who is on the Pareto front."""

from __future__ import annotations

from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.cost import LATENCIES, shown_costs
from nnopt.compare.pictures.figure import MOST_LINES
from nnopt.compare.report.charts import controls, figure, select
from nnopt.compare.report.lists import shorten
from nnopt.compare.report.look import legend, look
from nnopt.compare.report.markup import Markup, element, section, sentences, table
from nnopt.compare.text import ABSENT, listed, show_bytes, show_milliseconds, show_quantity, show_spread

TITLES = {
    "train_seconds": "training seconds",
    "memory_peak_bytes": "peak memory in bytes",
    "parameters": "parameters",
    "nonzero_parameters": "parameters that are not 0",
    "network_bytes": "bytes of the network's file",
    "multiply_adds": "multiply-adds for a sample",
    "latency_seconds": "seconds for one sample",
    "batch_latency_seconds": "seconds for a batch",
    "energy_joules": "energy in joules",
}
SCALES = {"linear": "linear", "log": "logarithmic"}


def cost_part(comparison: Comparison) -> tuple[Markup, dict[str, Any]]:
    """The section, and what its script reads."""
    points = comparison.costs
    shown = shown_costs(comparison.rows)
    axes = {name: TITLES.get(name, name.replace("_", " ")) for name in shown if any(name in p.costs for p in points)}
    if not points or not axes:
        return section("cost", "Cost", element("p", f"No variant has both a {comparison.metric} and a cost.")), {}
    places = {row.label: place for place, row in enumerate(comparison.rows)}
    drawn = points[:MOST_LINES]
    rows = [
        [
            point.label,
            show_spread(point.quality),
            *(_cell(point.costs.get(axis), axis, axis in point.front) for axis in axes),
        ]
        for point in points
    ]
    numbers = table(
        f"{comparison.metric} and its costs; ★ marks the Pareto front",
        ["variant", comparison.metric, *axes.values()],
        rows,
    )
    choice = controls(select("cost-axis", "Cost", axes), select("cost-scale", "Horizontal scale", SCALES), label="Cost")
    said = [
        (
            "A large ringed marker is on the Pareto front: no other variant is both better and cheaper. Means over "
            "seeds decide it, without regard to their spread."
        )
    ]
    if len(points) > len(drawn):
        said.append(f"The first {len(drawn)} variants are drawn, {len(points) - len(drawn)} more are not.")
    summary = "; ".join(
        f"by {title}: {listed([point.label for point in points if axis in point.front], 8)}"
        for axis, title in axes.items()
    )
    boxes = legend("cost", [point.label for point in drawn], [places[point.label] for point in drawn])
    made = section(
        "cost",
        "Cost",
        figure("cost", f"On the Pareto front of {comparison.metric} {summary}.", choice, boxes, numbers),
        sentences(said),
    )
    value = {
        "axes": axes,
        "metric": comparison.metric,
        "higher": comparison.higher_is_better,
        "groups": [
            {
                "label": point.label,
                **look(places[point.label]),
                "quality": shorten(point.quality.mean),
                "sd": shorten(point.quality.sd),
                "costs": {axis: shorten(point.costs[axis]) for axis in axes if axis in point.costs},
                "front": sorted(point.front),
            }
            for point in drawn
        ],
    }
    return made, value


def _cell(cost: float | None, axis: str, is_on_front: bool) -> str:
    if cost is None:
        return ABSENT
    if axis in LATENCIES:
        shown = show_milliseconds(cost)
    else:
        shown = show_bytes(int(cost)) if axis.endswith("_bytes") else show_quantity(cost)
    return f"{shown} ★" if is_on_front else shown
