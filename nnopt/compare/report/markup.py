"""HTML out of small functions: text is escaped unless it was made here, so no name of a variant becomes markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from nnopt.compare.text import ABSENT

VOID = ("meta", "input", "br")  # as far as they are used here
# What a cell begins with, and the unit behind it where it is memory.
_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+(?:e[-+]?\d+)?")
_UNIT = re.compile(r"\s*([kMGT]?)B\b")
_POWERS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}


class Markup(str):
    """HTML that stands as it is."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | int | bool | None) -> Markup:
    """`<name attributes>children</name>`; children that are not Markup are escaped.

    `class_` and `for_` lose their underscore at the end, underscores within a name become hyphens. True is an
    attribute without a value; None and False are none.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{html.escape(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if name in VOID else f"{start}{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """The parts one after the other; those that are not Markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in parts))


def sentences(texts: Iterable[str], class_: str | None = None) -> Markup:
    """A list with an item a text; empty where there is none."""
    items = [element("li", text) for text in texts]
    return element("ul", *items, class_=class_) if items else Markup()


def section(name: str, title: str, *children: str, class_: str | None = None) -> Markup:
    """A section with its heading, to which `#name` leads."""
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *children, id=name, class_=class_, aria_labelledby=f"{name}-title")


def table(
    caption: str,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[bool] | None = None,
    is_sortable: bool = False,
    marked: int | None = None,
) -> Markup:
    """A table in a box that scrolls by itself; the first cell of a row is its heading, or the second after a rank.

    `numbers` says which columns stand to the right, by default all but the first. A sortable table has buttons
    for titles. The row number `marked` is set off.
    """
    right = numbers or [False] + [True] * (len(titles) - 1)
    heads = []
    for title, is_number in zip(titles, right, strict=True):
        label = element("button", title, type="button") if is_sortable else title
        class_ = "number" if is_number else None
        order = ("ascending" if title == "#" else "none") if is_sortable else None
        heads.append(element("th", label, scope="col", class_=class_, aria_sort=order))
    heading = 1 if titles and titles[0] == "#" else 0
    body = []
    for place, row in enumerate(rows):
        cells = []
        for column, (text, is_number) in enumerate(zip(row, right, strict=True)):
            key = sort_key(text) if is_sortable and is_number else None
            kind, scope = ("th", "row") if column == heading else ("td", None)
            cells.append(
                element(kind, text, scope=scope, class_="number" if is_number else None, data_sort=key),
            )
        body.append(element("tr", *cells, class_="best" if place == marked else None))
    made = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
        class_="sortable" if is_sortable else None,
    )
    return scrolling(made, caption)


def scrolling(content: str, label: str) -> Markup:
    """A box in which wide content scrolls, with the keyboard as well."""
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)


def sort_key(text: str) -> str | None:
    """The number that a cell is sorted by: the one that it begins with, memory in bytes; None without one."""
    found = _NUMBER.search(text) if text != ABSENT else None
    if found is None:
        return None
    number = float(found[0].replace(",", "").replace("−", "-"))
    unit = _UNIT.match(text, found.end())
    return repr(number * 10 ** _POWERS[unit[1]] if unit else number)


def json_block(name: str, value: Any) -> Markup:
    """A script element that holds data; no text in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')
