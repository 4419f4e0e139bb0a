"""convergence.png: the metric and the training loss against steps and against seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnopt.compare.comparison import Comparison
from nnopt.compare.curves import Aligned, align
from nnopt.compare.groups import Group
from nnopt.compare.pictures.figure import MOST_LINES, limits, new_figure, plain, style, write_picture
from nnopt.compare.series import series
from nnopt.compare.text import show_runs

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

TRAIN_LOSS = "train_loss"
X_LABELS = ("steps", "training seconds")
# Up to this many seeds each is drawn beside the mean.
FEW_SEEDS = 2
LEGEND_COLUMNS = 4
LOG_FROM = 5
Groups = Sequence[Group]


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draws the curves of every variant into a PNG, 1200 pixels wide.

    The line is the mean over the seeds at a step, the band one sample standard deviation to either side;
    against seconds a point lies at the mean time of these seeds. Where the seeds have few steps in common,
    each is drawn by itself. A run that diverged is no part of a mean: it ends in a cross; one that has not ended
    is a thin line. The first 21 variants of the ranking are drawn.

    Raises:
        DiskError: the file cannot be written.
    """
    groups = comparison.groups[:MOST_LINES]
    handles = _legend(comparison, groups)
    columns = list(dict.fromkeys(column for column in (comparison.column, TRAIN_LOSS) if column))
    legend_rows = -(-len(handles) // LEGEND_COLUMNS)
    figure = new_figure(12, 4 * len(columns) + 0.2 + 0.25 * legend_rows)
    grid = figure.subplots(len(columns), 2, sharex="col", squeeze=False)
    for panels, column in zip(grid, columns, strict=True):
        _draw_column(panels, column, comparison, groups)
    for axes, x_label in zip(grid[-1], X_LABELS, strict=True):
        axes.set_xlabel(x_label)
    figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
    write_picture(figure, path)


def _draw_column(panels: Sequence[Axes], column: str, comparison: Comparison, groups: Groups) -> None:
    """One column of metrics.csv, against steps in the first panel and against seconds in the second."""
    curves = [align(group.results, column) for group in groups]
    values = _values(groups, column)
    target = comparison.target
    goal = target.value if target is not None and target.metric == column else None
    shown = values if goal is None else [*values, goal]
    is_log = _is_log(column, comparison, shown)
    low, high = limits(shown, is_log)
    for axes, is_time in zip(panels, (False, True), strict=True):
        plain(axes, column)
        axes.set_yscale("log" if is_log else "linear")
        axes.set_ylim(low, high)
        if not values:
            axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)
        if goal is not None:
            axes.axhline(goal, color="black", linestyle=":", linewidth=1.2)
        for index, (group, curve) in enumerate(zip(groups, curves, strict=True)):
            _draw(axes, curve, is_time, *style(index))
            _draw_lost(axes, group, column, is_time, style(index)[0])


def _draw(axes: Axes, curve: Aligned, is_time: bool, colour: str, dashes: str) -> None:
    """The mean with its band, and single runs where they are few or have few steps in common."""
    runs, has_mean = len(curve.values), curve.has_common_steps
    if runs > 1 and (runs <= FEW_SEEDS or not has_mean):
        alpha = 0.4 if has_mean else 0.8
        for present, values, seconds in zip(curve.present, curve.values, curve.seconds, strict=True):
            x = seconds if is_time else curve.steps
            axes.plot(x[present], values[present], color=colour, linestyle=dashes, linewidth=1, alpha=alpha)
    if not has_mean:
        return
    x = curve.mean_seconds if is_time else curve.steps
    for piece in curve.segments():
        mean, sd = curve.mean[piece], curve.sd[piece]
        marker = "." if len(piece) == 1 else ""
        axes.plot(x[piece], mean, color=colour, linestyle=dashes, linewidth=1.8, marker=marker)
        axes.fill_between(x[piece], mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)


def _draw_lost(axes: Axes, group: Group, column: str, is_time: bool, colour: str) -> None:
    """The runs that are in no mean; those that diverged to a cross at their last finite value, or at the edge."""
    low, high = axes.get_ylim()
    for record in (*group.lost, *group.unfinished):
        curve = series(record, column)
        if curve.values:
            x = curve.seconds if is_time else curve.steps
            axes.plot(x, curve.values, color=colour, linewidth=1, alpha=0.5)
            if record.status != "diverged":
                continue
            end = min(max(curve.values[-1], low), high)
            axes.plot(x[-1:], [end], color=colour, marker="x", markersize=8, markeredgewidth=2, clip_on=False)


def _values(groups: Groups, column: str) -> list[float]:
    """What the panel should show whole: the runs with a result, or where there are none the others."""
    for runs in ([group.results for group in groups], [group.records for group in groups]):
        values = [value for records in runs for record in records for value in series(record, column).values]
        if values:
            return values
    return []


def _is_log(column: str, comparison: Comparison, values: Sequence[float]) -> bool:
    """Losses always, other errors where they span more than a few times themselves; positive values only."""
    if not values or min(values) <= 0 or (column == comparison.column and comparison.higher_is_better):
        return False
    return column == TRAIN_LOSS or max(values) > LOG_FROM * min(values)


def _legend(comparison: Comparison, groups: Groups) -> list[Artist]:
    from matplotlib.lines import Line2D

    handles: list[Artist] = []
    for index, (group, row) in enumerate(zip(groups, comparison.rows, strict=False)):
        colour, dashes = style(index)
        lost = len(group.results) < len(group.records)
        label = f"{group.label} ({show_runs(row)})" if lost else group.label
        handles.append(Line2D([], [], color=colour, linestyle=dashes, linewidth=1.8, label=label))
    if any(group.lost for group in groups):
        handles.append(Line2D([], [], color="grey", linestyle="", marker="x", label="diverged"))
    target = comparison.target
    if target is not None and target.metric in (comparison.column, TRAIN_LOSS):
        goal = f"target {target.value:g}"
        handles.append(Line2D([], [], color="black", linestyle=":", linewidth=1.2, label=goal))
    hidden = len(comparison.groups) - len(groups)
    if hidden:
        handles.append(Line2D([], [], linestyle="", label=f"and {hidden} more, not drawn"))
    return handles
