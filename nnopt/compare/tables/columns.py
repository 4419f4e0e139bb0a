"""Columns of texts on a terminal, in as many tables as its width asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class TextColumn:
    """A title, and a text for each row."""

    title: str
    texts: tuple[str, ...]


def render_columns(columns: Sequence[TextColumn], console: Console) -> None:
    """Prints columns as one table, or as several that fit, each with the first column."""
    if not columns:
        return
    first, *others = columns
    tables = [[first]]
    for column in others:
        if len(tables[-1]) > 1 and not _fits([*tables[-1], column], console):
            tables.append([first])
        tables[-1].append(column)
    for shown in tables:
        console.print(_table(shown))
        console.print()


def _fits(columns: Sequence[TextColumn], console: Console) -> bool:
    return console.measure(_table(columns), options=console.options.update(width=10_000)).maximum <= console.width


def _table(columns: Sequence[TextColumn]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(Text(column.title), justify="right" if index else "left", vertical="bottom", overflow="fold")
    for row in zip(*(column.texts for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table
