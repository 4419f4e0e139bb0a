"""What the pictures have in common: colours, panels, and how they reach a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nnopt.errors import UsageError
from nnopt.store.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
# Okabe and Ito's colours, told apart with the common colour blindnesses; their yellow is too pale here.
# https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
Dash = Literal["-", "--", "-."]
DASHES: tuple[Dash, ...] = ("-", "--", "-.")
MOST_LINES = len(COLOURS) * len(DASHES)
# Suffix -> metadata: without a date, so that the same figure gives the same bytes.
PICTURES: dict[str, dict[str, str | None]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def style(index: int) -> tuple[str, Dash]:
    """Colour and dashes of the line number `index`; different for the first MOST_LINES."""
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in hundreds of pixels, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes, title: str) -> None:
    """Light grid, no frame above and to the right."""
    axes.set_title(title, loc="left", fontsize=12)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def limits(values: Sequence[float], is_log: bool) -> tuple[float, float]:
    """Limits of an axis with a twentieth to spare on either side; 0 to 1 without values."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if is_log:
        factor = (high / low) ** 0.05 if high > low else 2.0
        return low / factor, high * factor
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def check_picture_file(path: Path) -> None:
    """Refuses a picture that could not be written, before anything is drawn.

    Raises:
        UsageError: its suffix is none of .png, .svg, .pdf.
    """
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"cannot write {path}: a picture's name ends in {', '.join(PICTURES)}")


def write_picture(figure: Figure, path: Path) -> None:
    """Writes the picture, whole, as PNG, SVG or PDF by the suffix of `path`.

    The same figure gives the same bytes. Text in an SVG stays text, in a PDF it keeps its (TrueType) fonts.

    Raises:
        UsageError: another suffix.
        DiskError: it cannot be written.
    """
    import matplotlib

    check_picture_file(path)
    kind = path.suffix.lower()
    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nnopt", "pdf.fonttype": 42}):
        figure.savefig(picture, format=kind.removeprefix("."), metadata=PICTURES[kind])
    write_whole(path, picture.getvalue())
