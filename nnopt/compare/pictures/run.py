"""The curves of one run: validation metrics, losses, learning rate, gradient norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnopt.compare.pictures.figure import MOST_LINES, limits, new_figure, plain, style, write_picture
from nnopt.compare.series import finite
from nnopt.errors import UsageError
from nnopt.spec.metric_names import higher_is_better
from nnopt.store.record import Columns, RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Line:
    """Finite points of a column; a faint line lies behind the others."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    is_faint: bool = False


def plot_run(record: RunRecord, path: Path) -> None:
    """Draws the run's curves against steps into a PNG, 1200 pixels wide; panels without a value are left out.

    Metrics between 0 and 1 of which more is better share a panel, every other metric has its own.

    Raises:
        UsageError: the run has no row in metrics.csv or steps.csv yet.
        RunsFolderError: one of these files is damaged.
        DiskError: the picture cannot be written.
    """
    panels = {title: lines for title, lines in _panels(record).items() if lines}
    if not panels:
        raise UsageError(f"{record.folder} has nothing to draw yet: no row in metrics.csv or steps.csv")
    rows = -(-len(panels) // 2)
    figure = new_figure(12, 0.4 + 3.6 * rows)
    grid = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        _draw(axes, title, lines[:MOST_LINES])
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(f"{record.name} ({record.status})", fontsize=13)
    write_picture(figure, path)


def _panels(record: RunRecord) -> dict[str, list[Line]]:
    rows, steps = record.curve(), record.steps()
    found = [_line(rows, column) for column in rows if column.startswith("val_") and column != "val_loss"]
    metrics = [line for line in found if line is not None]
    shares = [line for line in metrics if _is_share(line)]
    panels = {shares[0].label if len(shares) == 1 else "validation": shares}
    panels |= {line.label: [line] for line in metrics if line not in shares}
    batch_loss = _line(steps, "loss", "batch loss", is_faint=True)
    losses = (batch_loss, _line(rows, "train_loss"), _line(rows, "val_loss"))
    panels["loss"] = [line for line in losses if line is not None]
    rate = _line(steps, "lr") or _line(rows, "lr")
    panels["learning rate"] = [rate] if rate else []
    norm = _line(steps, "grad_norm")
    panels["gradient norm"] = [norm] if norm else []
    return panels


def _line(columns: Columns, name: str, label: str = "", is_faint: bool = False) -> Line | None:
    places = zip(columns.get("step", ()), columns.get(name, ()), strict=False)
    points = [(step, value) for step, value in places if step is not None and finite(value) is not None]
    if not points:
        return None
    return Line(label or name, [step for step, _ in points], [value or 0.0 for _, value in points], is_faint)


def _is_share(line: Line) -> bool:
    return higher_is_better(line.label) and all(0 <= value <= 1 for value in line.values)


def _draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
    values = [value for line in lines for value in line.values]
    is_log = title in ("loss", "gradient norm") and min(values) > 0
    plain(axes, title)
    axes.set_xlabel("steps")
    axes.set_yscale("log" if is_log else "linear")
    axes.set_ylim(*limits(values, is_log))
    for index, line in enumerate(lines):
        colour, dashes = ("grey", "-") if line.is_faint else style(index)
        width, alpha = (0.8, 0.5) if line.is_faint else (1.6, 1.0)
        (drawn,) = axes.plot(line.steps, line.values, label=line.label, color=colour, linestyle=dashes)
        drawn.set(linewidth=width, alpha=alpha, marker="." if len(line.values) == 1 else "")
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=9, loc="best")
