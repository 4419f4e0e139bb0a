"""trajectories.png: the ways of runs over the function that they make small, over its contours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.groups import Group
from nnopt.compare.pictures.figure import MOST_LINES, new_figure, plain, style, write_picture
from nnopt.errors import RunsFolderError, UsageError
from nnopt.store.record import TRAJECTORY, RunRecord, read_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nnopt.data.landscapes import Landscape

Way = tuple[list[float], list[float]]  # x and y after each noted step

LEVELS = 24
GRID = 240
# A run that leaves the picture beyond this many times the usual reach does not make the rest of it tiny.
MOST_REACHES = 2.0


def function_of(groups: Sequence[Group]) -> dict[str, Any] | None:
    """`data` of the spec of runs that all make one function of two numbers small; None for any others."""
    found = [group.records[0].summary.get("spec", {}).get("data") or {} for group in groups]
    functions = [data.get("function") for data in found]
    if not found or any(data.get("kind") != "function" or data["function"] != functions[0] for data in found):
        return None
    return found[0] if dict(functions[0] or {}).get("dimensions", 2) == 2 else None


def check_paths(comparison: Comparison) -> None:
    """Raises UsageError where there is no way to draw."""
    if function_of(comparison.groups) is None:
        raise UsageError(
            "--plot-path draws the ways of runs over one function of two numbers (data: {kind: function}); "
            "these runs make something else small"
        )


def plot_paths(comparison: Comparison, path: Path) -> None:
    """Draws contours of the function, its minima as stars, and the way of every run; a variant has one colour.

    A way begins at a ring and ends at a dot, a run that diverged in a cross at its last place in the picture.

    Raises:
        UsageError: as `check_paths`.
        DiskError: the file cannot be written.
    """
    from nnopt.spec.data.synthetic import Function

    check_paths(comparison)
    landscape = Function.model_validate(function_of(comparison.groups)).function.build()
    groups = comparison.groups[:MOST_LINES]
    ways = [
        [(way, record in group.lost) for record in group.records if (way := _read(record)) is not None]
        for group in groups
    ]
    figure = new_figure(9, 8)
    axes = figure.subplots()
    plain(axes, landscape.name)
    box = _box(landscape, [way for some in ways for way, _ in some])
    _contours(axes, landscape, box)
    for index, (group, some) in enumerate(zip(groups, ways, strict=True)):
        colour, dashes = style(index)
        for number, ((xs, ys), lost) in enumerate(some):
            label = group.label if number == 0 else None
            axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=1.4, marker=".", markersize=3, label=label)
            axes.plot(xs[:1], ys[:1], color=colour, marker="o", markersize=7, fillstyle="none")
            seen = [place for place in zip(xs, ys, strict=True) if _is_within(place, box)]
            axes.plot(*zip(*seen[-1:], strict=True), color=colour, marker="X" if lost else "o", markersize=7)
    minima = landscape.minima.tolist()
    axes.plot(*zip(*minima, strict=True), "*", color="black", markersize=12, linestyle="", label="lowest")
    axes.set(xlim=box[:2], ylim=box[2:], xlabel="x1", ylabel="x2")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    write_picture(figure, path)


def _is_within(place: tuple[float, float], box: tuple[float, float, float, float]) -> bool:
    return box[0] <= place[0] <= box[1] and box[2] <= place[1] <= box[3]


def _read(record: RunRecord) -> Way | None:
    """Where a run was, without what is no number; None for one that kept no trajectory."""
    if not (record.folder / TRAJECTORY).is_file():
        return None
    columns = read_columns(record.folder / TRAJECTORY)
    if not {"x1", "x2"} <= set(columns):
        raise RunsFolderError(f"{record.folder / TRAJECTORY} is damaged: it has no columns x1 and x2")
    places = [(x, y) for x, y in zip(columns["x1"], columns["x2"], strict=True) if x is not None and y is not None]
    finite = [(x, y) for x, y in places if math.isfinite(x) and math.isfinite(y)]
    return ([x for x, _ in finite], [y for _, y in finite]) if finite else None


def _box(landscape: Landscape, ways: Sequence[Way]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top: all that is looked at usually, and the ways as far as they do not run off."""
    reach = landscape.reach
    far = MOST_REACHES * reach
    ends: list[float] = []
    for axis in (0, 1):
        seen = [value for way in ways for value in way[axis] if abs(value) <= far]
        ends += [min([-reach, *seen]), max([reach, *seen])]
    return ends[0], ends[1], ends[2], ends[3]


def _contours(axes: Axes, landscape: Landscape, box: tuple[float, float, float, float]) -> None:
    """Lines of equal height, in equal ratios above the lowest place."""
    import numpy as np
    import torch

    xs, ys = np.linspace(*box[:2], GRID), np.linspace(*box[2:], GRID)
    grid = torch.from_numpy(np.stack(np.meshgrid(xs, ys), -1))
    heights = landscape.value(grid).numpy()
    heights = heights - float(landscape.value(landscape.minima.double())[0])
    top = float(heights.max())
    levels = np.geomspace(max(top * 1e-5, 1e-9), top, LEVELS)
    axes.contourf(xs, ys, np.log(heights + levels[0]), LEVELS, cmap="Greys", alpha=0.35)
    axes.contour(xs, ys, heights, levels, colors="grey", linewidths=0.5)
