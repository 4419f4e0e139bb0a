"""Quality against cost as a picture, with the front of what nothing beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.cost import COSTS, LATENCIES, CostPoint, shown_costs
from nnopt.compare.pictures.figure import MOST_LINES, limits, new_figure, plain, style, write_picture
from nnopt.compare.pictures.labels import draw_labels
from nnopt.compare.text import show_digits, show_quantity
from nnopt.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "train_seconds": "training seconds",
    "memory_peak_bytes": "peak memory",
    "parameters": "parameters",
    "nonzero_parameters": "parameters that are not 0",
    "network_bytes": "size of the network's file",
    "multiply_adds": "multiply-adds for a sample",
    "latency_seconds": "milliseconds for one sample",
    "batch_latency_seconds": "milliseconds for a batch",
    "energy_joules": "energy in joules",
}
PANELS_IN_A_ROW = 2
LOG_FROM = 10.0
KILOBYTE, MEGABYTE = 1e3, 1e6
FRONT = "#555555"


def plot_costs(comparison: Comparison, path: Path) -> None:
    """Draws quality against every cost that is there and differs, a panel each.

    A point is a variant's mean with one sample standard deviation to either side. Those on the front are ringed and
    joined by a line that shows what is to be had up to a cost; a variant of which a run diverged is a cross, on no
    front. Each of several tasks has a row of panels. The first 21 variants of a panel are drawn. PNG, SVG or PDF by
    the suffix of `path`.

    Raises:
        UsageError: no cost was recorded, or another suffix.
        DiskError: the file cannot be written.
    """
    panels = _panels(comparison.costs, shown_costs(comparison.rows))
    if not panels:
        raise UsageError(f"cannot draw {path}: no variant has a {comparison.metric} and a cost")
    tasks = list(dict.fromkeys(task for task, _ in panels))
    shown = [cost for cost in COSTS if any(cost == one for _, one in panels)]
    places = [(task, cost) for task in tasks for cost in shown]
    in_a_row = min(PANELS_IN_A_ROW, len(shown)) if len(tasks) == 1 else len(shown)
    rows = -(-len(places) // in_a_row)
    figure = new_figure(max(5.4 * in_a_row, 9), 4.4 * rows + 0.5)
    grid = figure.subplots(rows, in_a_row, squeeze=False).flatten()
    colours = {name: style(at)[0] for at, name in enumerate(dict.fromkeys(map(_variant, comparison.costs)))}
    drawn = []
    for axes, place in zip(grid, places, strict=False):
        if place not in panels:
            axes.set_axis_off()
            continue
        task, cost = place
        plain(axes, task or f"{comparison.metric} against {TITLES[cost]}")
        axes.set_ylabel(comparison.metric)
        drawn.append((axes, panels[place], cost))
        _draw(axes, panels[place], cost, comparison.higher_is_better, colours)
    for axes in grid[len(places) :]:
        axes.set_axis_off()
    figure.legend(handles=_legend(comparison.costs), loc="outside lower center", ncols=4, frameon=False)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed in pixels: nothing may move after them
    for axes, points, cost in drawn:
        at = [(point.costs[cost], point.quality.mean) for point in points]
        draw_labels(axes, at, [_name(point) for point in points], _marks(points, cost, axes.get_xlim()[1]))
    write_picture(figure, path)


def _panels(points: Sequence[CostPoint], shown: Sequence[str]) -> dict[tuple[str | None, str], list[CostPoint]]:
    """Task and cost -> points; costs that are the same for all are left out where others differ."""
    found = {}
    for task in dict.fromkeys(point.task for point in points):
        for cost in shown:
            known = [point for point in points if point.task == task and cost in point.costs][:MOST_LINES]
            if known:
                found[task, cost] = known
    differing = {place: known for place, known in found.items() if any(place[1] in one.front for one in known)}
    return differing or found


def _draw(axes: Axes, points: Sequence[CostPoint], cost: str, higher: bool, colours: Mapping[str, str]) -> None:
    """Points, bars and the front."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    x = [point.costs[cost] for point in points]
    is_log = min(x) > 0 and max(x) > LOG_FROM * min(x)
    axes.set_xscale("log" if is_log else "linear")
    axes.set_xlim(*limits(x, is_log))
    axes.set_ylim(*limits([end for point in points for end in _bar(point)], False))
    axes.set_xlabel(TITLES[cost])
    span = max(x) - min(x)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _show(cost, value, span)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(subs=_steps(x)) if is_log else MaxNLocator(5, steps=[1, 2, 5, 10]))
    for point in points:
        colour, at = colours[_variant(point)], point.costs[cost]
        axes.plot([at, at], _bar(point), color=colour, linewidth=1.4, alpha=0.7)
        axes.plot([at], [point.quality.mean], color=colour, marker="x" if point.diverged else "o", markersize=7)
    front = _front(points, cost)
    if front:
        front_x, front_y = map(list, zip(*front, strict=True))
        steps = ([*front_x, axes.get_xlim()[1]], [*front_y, front_y[-1]])
        axes.step(*steps, where="post", color=FRONT, linewidth=1, linestyle="--", zorder=1)
        axes.plot(front_x, front_y, linestyle="", marker="o", markersize=14, fillstyle="none", color=FRONT)


def _steps(costs: Sequence[float]) -> tuple[float, ...]:
    """What is labelled within a factor of ten on a logarithmic axis: less, the longer the axis."""
    decades = math.log10(max(costs) / min(costs))
    return (1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 4 else (1.0,)


def _bar(point: CostPoint) -> tuple[float, float]:
    sd = point.quality.sd or 0.0
    return point.quality.mean - sd, point.quality.mean + sd


def _front(points: Sequence[CostPoint], cost: str) -> list[tuple[float, float]]:
    """The members of the front, by cost."""
    return sorted((point.costs[cost], point.quality.mean) for point in points if cost in point.front)


def _marks(points: Sequence[CostPoint], cost: str, end: float) -> list[tuple[float, float, float, float]]:
    """What labels should not lie on, as left, bottom, right, top: the bars and the level pieces of the front."""
    bars = [(point.costs[cost], _bar(point)[0], point.costs[cost], _bar(point)[1]) for point in points]
    front = _front(points, cost)
    ends = [*(x for x, _ in front[1:]), end] if front else []
    return [*bars, *((x, y, right, y) for (x, y), right in zip(front, ends, strict=True))]


def _show(cost: str, value: float, span: float) -> str:
    """A tick's label, with the digits that tell ticks within `span` apart."""
    if cost in LATENCIES:
        return show_digits(1000 * value)
    if not cost.endswith("_bytes"):
        return show_quantity(value)
    size, unit = (MEGABYTE, "MB") if value >= MEGABYTE or span >= MEGABYTE else (KILOBYTE, "kB")
    decimals = max(0, math.ceil(-math.log10(span / size)) + 1) if span > 0 else 0
    return f"{value / size:,.{min(decimals, 3)}f} {unit}"


def _variant(point: CostPoint) -> str:
    return point.label.removeprefix(f"{point.task}/") if point.task else point.label


def _name(point: CostPoint) -> str:
    name = _variant(point)
    return f"{name} ({point.diverged} diverged)" if point.diverged else name


def _legend(points: Sequence[CostPoint]) -> list[Any]:
    from matplotlib.lines import Line2D

    ring = Line2D(
        [],
        [],
        color=FRONT,
        linestyle="--",
        marker="o",
        fillstyle="none",
        markersize=11,
        label="nothing is better and cheaper",
    )
    spread = Line2D([], [], color="grey", marker="|", linestyle="", markersize=14, label="± 1 sd over seeds")
    cross = Line2D([], [], color="grey", marker="x", linestyle="", label="with diverged runs: on no front")
    return [ring, spread, *([cross] if any(point.diverged for point in points) else [])]
