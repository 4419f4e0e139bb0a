"""A comparison on a terminal, wide or narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.table import Column, shown_columns
from nnopt.compare.text import best_sentence, show_value

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def render(comparison: Comparison, console: Console) -> None:
    """Prints the table with its best row marked, the best variant in a sentence, notes and differences.

    Where the console is too narrow for all columns there are several tables: what came of the runs, the time
    to target, what they cost.
    """
    parts = {part: list(columns) for part, columns in groupby(shown_columns(comparison), lambda of: of.part)}
    names = parts.pop("name")
    tables: list[list[Column]] = []
    for columns in parts.values():
        whole = _fits(_table(comparison, names + columns), console)
        for some in [columns] if whole else [[column] for column in columns]:
            if tables and _fits(_table(comparison, tables[-1] + some), console):
                tables[-1] += some
            else:
                tables.append(names + some)
    for shown in tables:
        console.print(_table(comparison, shown))
        console.print()
    _say(console, best_sentence(comparison), style="bold")
    for note in comparison.notes:
        _say(console, f"- {note}")
    if comparison.differences:
        console.print()
        _render_differences(comparison.differences, comparison.ranking, console)


def _table(comparison: Comparison, columns: Sequence[Column]) -> Table:
    table = _bare_table()
    for column in columns:
        table.add_column(
            _plain("\n".join(column.title.split())),
            justify="right" if column.is_number else "left",
            vertical="bottom",
            no_wrap=column.is_number,
            overflow="fold",
        )
    for row in comparison.rows:
        is_best = row is comparison.best
        texts = [column.text(row) for column in columns]
        if is_best:
            texts[0] = f"* {texts[0]}"
        table.add_row(*map(_plain, texts), style="bold green" if is_best else None)
    return table


def _bare_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _render_differences(differing: Mapping[str, Mapping[str, Any]], labels: Sequence[str], console: Console) -> None:
    """One row a key and one column a variant where that fits, else a line a key."""
    table = _bare_table()
    for title in ("the specs differ in", *labels):
        table.add_column(_plain(title), overflow="fold")
    for key, values in differing.items():
        table.add_row(*map(_plain, [key, *(show_value(values, label) for label in labels)]))
    if _fits(table, console):
        console.print(table)
        return
    _say(console, "The specs differ in:")
    for key, values in differing.items():
        alike: dict[str, list[str]] = {}
        for label in labels:
            alike.setdefault(show_value(values, label), []).append(label)
        _say(console, f"  {key}: " + "; ".join(f"{value} ({', '.join(of)})" for value, of in alike.items()))


def _fits(table: Table, console: Console) -> bool:
    return console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _say(console: Console, sentence: str, style: str = "") -> None:
    console.print(_plain(sentence), style=style, soft_wrap=True)
