"""Training samples as they are beside what a model sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nnopt.compare.pictures.figure import new_figure, write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]

MOST_LINES, MOST_LETTERS = 3, 18  # of what stands above an image


@dataclass(frozen=True, eq=False)
class Shown:
    """Some images of a batch.

    Attributes:
        name: whose batch it is.
        before: [n, h, w] or [n, h, w, 3] from 0 (black) to 1, as the data set has them.
        after: the same, as a model sees them.
        said_before: [n], what each is, as the data set has it.
        said_after: [n], what a model is to answer.
    """

    name: str
    before: Array
    after: Array
    said_before: Sequence[str]
    said_after: Sequence[str]


def plot_batches(batches: Sequence[Shown], path: Path) -> None:
    """Writes a picture with two lines of images for each of the batches: as they are, and below as they are seen."""
    most = max(len(shown.said_after) for shown in batches)
    figure = new_figure(1.0 + 1.25 * most, 3.6 * len(batches))
    blocks = figure.subfigures(len(batches), 1, squeeze=False)[:, 0]
    for shown, block in zip(batches, blocks, strict=True):
        block.suptitle(shown.name, x=0.01, ha="left", fontsize=12)
        grid = block.subplots(2, most, squeeze=False)
        _draw_line(grid[0], "as it is", shown.before, shown.said_before)
        _draw_line(grid[1], "as seen", shown.after, shown.said_after)
    write_picture(figure, path)


def _draw_line(line: Sequence[Axes], word: str, images: Array, said: Sequence[str]) -> None:
    for axes in line:
        axes.set_axis_off()
    for axes, image, words in zip(line, images, said, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(in_lines(words), fontsize=8)
    line[0].text(-0.1, 0.5, word, transform=line[0].transAxes, ha="right", va="center", fontsize=9)


def in_lines(words: str) -> str:
    """What stands between commas, each on a line of its own, shortened to what fits above an image."""
    lines = [line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 1]}…" for line in words.split(", ")]
    return "\n".join([*lines[: MOST_LINES - 1], "…"] if len(lines) > MOST_LINES else lines)
