"""The frame around every chart: its controls, its summary in words, and its numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping

from nnopt.compare.report.markup import Markup, element

NEEDS_SCRIPT = "The chart needs JavaScript, which is off; the numbers are in the tables of this page."


def figure(
    name: str,
    summary: str,
    controls: Markup | None = None,
    legend: Markup | None = None,
    table: Markup | None = None,
    buttons: bool = True,
) -> Markup:
    """A chart called `name`: the page's script draws into `plot-<name>`.

    `summary` stands for the chart where it cannot be seen, and below it. Without `table` the script fills the
    table when it is opened.
    """
    drawn = element("div", id=f"plot-{name}", class_="plot", role="img", aria_label=summary)
    noscript = element("noscript", element("p", NEEDS_SCRIPT, class_="hint"))
    caption = element("figcaption", summary, id=f"caption-{name}", aria_live="polite")
    numbers = element(
        "details",
        element("summary", "The data as a table"),
        element("div", table or "", id=f"table-{name}"),
        class_="numbers" if table else "numbers filled-by-script",
    )
    row = element(
        "div",
        element("button", "Reset zoom", type="button", data_reset=name),
        element("button", "Save as SVG", type="button", data_save=name),
        class_="controls buttons",
    )
    return element(
        "figure",
        controls or "",
        drawn,
        noscript,
        caption,
        legend or "",
        row if buttons else "",
        numbers,
        class_="chart",
    )


def select(name: str, label: str, options: Mapping[str, str], chosen: str | None = None) -> Markup:
    """A labelled choice called `name`; `options` is value -> text."""
    choices = [element("option", text, value=value, selected=value == chosen) for value, text in options.items()]
    return element("label", element("span", label), element("select", *choices, id=name))


def controls(*parts: Markup, label: str) -> Markup:
    """Choices that belong together."""
    return element("div", *parts, class_="controls", role="group", aria_label=label)
