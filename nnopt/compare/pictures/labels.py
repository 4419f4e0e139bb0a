"""Labels beside the points of a picture, kept off each other as far as there is room."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Pixels from a point to its label, tried from near to far; from LEADER on, a line leads from one to the other.
DISTANCES = (13, 19, 27, 38, 52, 70)
LEADER = 27
DIRECTIONS = 16
POINT = 11.0
LINE = 2.0
FONT_SIZE = 9


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.top - self.bottom)


def place_labels(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], obstacles: Sequence[Box], frame: Box
) -> list[tuple[Box, float]]:
    """Where each label goes, and its distance from its point: near it, inside `frame`, on nothing else if possible.

    `points` and `sizes` (width, height of the labels) are in pixels. `obstacles` are kept free beside the points.
    One label after the other takes the first place that covers nothing, else the one that covers least.
    """
    taken = [*obstacles, *(Box(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in points)]
    placed = []
    for point, size in zip(points, sizes, strict=True):
        best: tuple[float, Box, float] | None = None
        for box, distance in _places(point, size):
            covered = sum(box.overlap(other) for other in taken) + 3 * (box.area - box.overlap(frame))
            if best is None or covered < best[0] - 1e-9:
                best = covered, box, distance
            if covered <= 0:
                break
        assert best is not None
        taken.append(best[1])
        placed.append(best[1:])
    return placed


def _places(point: tuple[float, float], size: tuple[float, float]) -> Iterator[tuple[Box, float]]:
    """Boxes around a point, the nearest first and to the right before the others."""
    (x, y), (width, height) = point, size
    for distance in DISTANCES:
        for turn in range(DIRECTIONS):
            angle = (1 if turn % 2 else -1) * ((turn + 1) // 2) * 2 * math.pi / DIRECTIONS
            along, up = math.cos(angle), math.sin(angle)
            # The box touches the circle: its corner or side nearest to the point lies at `distance`.
            left = x + distance * along - width * (1 - along) / 2
            bottom = y + distance * up - height * (1 - up) / 2
            yield Box(left, bottom, left + width, bottom + height), distance


def draw_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    marks: Sequence[tuple[float, float, float, float]],
) -> None:
    """Writes each text beside its point, off `marks` (left, bottom, right, top); all in data coordinates.

    The figure is laid out and its limits are final.
    """
    figure = axes.figure

    def pixels(x: float, y: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, y))
        return float(across), float(up)

    places = [pixels(*point) for point in points]
    sizes = []
    for text in texts:
        probe = axes.text(0, 0, text, fontsize=FONT_SIZE)
        extent = probe.get_window_extent()
        sizes.append((extent.width, extent.height))
        probe.remove()
    corners = [(pixels(left, bottom), pixels(right, top)) for left, bottom, right, top in marks]
    obstacles = [Box(low[0] - LINE, low[1] - LINE, high[0] + LINE, high[1] + LINE) for low, high in corners]
    window = axes.get_window_extent()
    frame = Box(window.x0, window.y0, window.x1, window.y1)
    to_points = 72.0 / figure.dpi
    found = place_labels(places, sizes, obstacles, frame)
    for (x, y), point, text, (box, distance) in zip(places, points, texts, found, strict=True):
        leader = {"arrowstyle": "-", "color": "grey", "linewidth": 0.6, "shrinkB": 4} if distance >= LEADER else None
        note = axes.annotate(
            text,
            point,
            xytext=((box.left - x) * to_points, (box.bottom - y) * to_points),
            textcoords="offset points",
            fontsize=FONT_SIZE,
            va="bottom",
            arrowprops=leader,
        )
        note.set_in_layout(False)
