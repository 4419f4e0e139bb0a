"""How lines look on the page: colours in light and dark, dashes and markers, and the legend that shows them."""

from __future__ import annotations

from collections.abc import Sequence

from nnopt.compare.pictures.figure import COLOURS, style
from nnopt.compare.report.markup import Markup, element, join

# On a dark page black becomes nearly white and the dark blue lighter; the others are seen on both.
DARK = {"#000000": "#F2F2F2", "#0072B2": "#3D9AD6"}
# Plotly's names of the dashes, and what SVG calls them.
DASHES = {"-": ("solid", None), "--": ("dash", "7 4"), "-.": ("dashdot", "7 3 2 3")}
# Plotly's markers, one a colour, and their outlines within 5 of the middle. A cross is kept for diverged runs.
MARKERS = {
    "circle": "M4 0A4 4 0 1 1 -4 0A4 4 0 1 1 4 0Z",
    "square": "M-3.5 -3.5H3.5V3.5H-3.5Z",
    "diamond": "M0 -5L5 0L0 5L-5 0Z",
    "triangle-up": "M-4.6 2.8H4.6L0 -4.8Z",
    "triangle-down": "M-4.6 -2.8H4.6L0 4.8Z",
    "triangle-left": "M2.8 -4.6V4.6L-4.8 0Z",
    "triangle-right": "M-2.8 -4.6V4.6L4.8 0Z",
}


def colour_rules() -> str:
    """CSS variables `--line-0`, `--line-1`, ... for the colours, in both schemes; paper is light."""
    light = "".join(f"--line-{place}:{colour};" for place, colour in enumerate(COLOURS))
    dark = "".join(f"--line-{place}:{DARK.get(colour, colour)};" for place, colour in enumerate(COLOURS))
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root:not(.paper){{{dark}}}}}"


def look(index: int) -> dict[str, str | int]:
    """Colour (its number), dash and marker of the line number `index`, for the charts."""
    colour, dashes = style(index)
    place = COLOURS.index(colour)
    return {"colour": place, "dash": DASHES[dashes][0], "marker": list(MARKERS)[place]}


def swatch(index: int) -> Markup:
    """A piece of the line number `index` with its marker."""
    colour, dashes = style(index)
    place = COLOURS.index(colour)
    paint = f"var(--line-{place})"
    line = element(
        "path", d="M0 7H32", style=f"stroke:{paint}", stroke_width=2, fill="none", stroke_dasharray=DASHES[dashes][1]
    )
    outline = list(MARKERS.values())[place]
    marker = element("path", d=outline, style=f"fill:{paint}", transform="translate(16 7)")
    return element("svg", line, marker, viewBox="0 0 32 14", width=32, height=14, aria_hidden="true")


def legend(name: str, labels: Sequence[str], indices: Sequence[int] | None = None) -> Markup:
    """Boxes to tick, one a line: those unticked are not drawn in the chart called `name`."""
    boxes = [
        element(
            "label",
            element("input", type="checkbox", checked=True, data_chart=name, data_line=line),
            swatch(line),
            element("span", label),
        )
        for line, label in zip(indices or range(len(labels)), labels, strict=True)
    ]
    return element("fieldset", element("legend", "Shown"), join(boxes), class_="legend")
