"""A comparison on a terminal, wide or narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.gates import GateResult
from nnopt.compare.tables.table import Column, shown_columns
from nnopt.compare.tables.tasks import render_across
from nnopt.compare.tables.verdicts import verdict_header, verdict_texts
from nnopt.compare.text import ABSENT, best_sentence, listed, said, show_value

MOST_LABELS = 6  # behind a value of a key in which the specs differ
GATE_STYLES = {"held": "green", "broken": "bold red", "undecided": "yellow"}

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def render(comparison: Comparison, console: Console, gates: Sequence[GateResult] = ()) -> None:
    """Prints what is unfair, the table with its best row marked, verdicts, gates, notes and differences.

    Where the console is too narrow for all columns there are several tables: what came of the runs, the time
    to target, what they cost.
    """
    _render_findings(comparison, console)
    several = comparison.across is not None
    if comparison.across is not None:
        render_across(comparison.across, console)
        console.print()
    for shown in _tables(comparison, console):
        console.print(_table(comparison, shown))
        console.print()
    _say(console, best_sentence(comparison), style="bold")
    for sentence in said(comparison) if not several else ():  # of many tasks the table below says it shorter
        _say(console, f"- {sentence}")
    for gate in gates:
        _say(console, f"gate {gate.sentence}", style=GATE_STYLES[gate.state])
    for note in comparison.notes:
        _say(console, f"- {note}")
    if comparison.verdicts:
        console.print()
        _render_verdicts(comparison, console)
    if comparison.differences:
        console.print()
        _render_differences(comparison, console)


def _render_findings(comparison: Comparison, console: Console) -> None:
    """What is unfair and what to do; which runs are in no number."""
    for finding in comparison.findings:
        _say(console, f"unfair: {finding.text} {finding.advice}", style="yellow")
    for sentence in comparison.left_out:
        _say(console, f"left out: {sentence}", style="yellow")
    if comparison.findings or comparison.left_out:
        console.print()


def _tables(comparison: Comparison, console: Console) -> list[list[Column]]:
    """The columns of one table, or of several that fit."""
    parts = {part: list(columns) for part, columns in groupby(shown_columns(comparison), lambda of: of.part)}
    names = parts.pop("name")
    tables: list[list[Column]] = []
    for columns in parts.values():
        whole = _fits(_table(comparison, names + columns, widest=True), console)
        for some in [columns] if whole else [[column] for column in columns]:
            if tables and _fits(_table(comparison, tables[-1] + some, widest=True), console):
                tables[-1] += some
            else:
                tables.append(names + some)
    return tables


def _render_verdicts(comparison: Comparison, console: Console) -> None:
    """One row a verdict where that fits, else a short list a verdict."""
    header, rows = verdict_header(comparison), verdict_texts(comparison)
    kept = [index for index in range(1, len(header)) if any(row[index] != ABSENT for row in rows)]
    if comparison.baseline is not None:
        kept.remove(header.index("against"))
        _say(console, f"against {comparison.baseline}:")

    widest_row = _widest(rows)

    def table(columns: Sequence[int], rows: Sequence[Sequence[str]]) -> Table:
        made = _bare_table()
        for index in (0, *columns):
            made.add_column(_plain("\n".join(header[index].split(" ", 1))), vertical="bottom", overflow="fold")
        for row in rows:
            made.add_row(*(_plain(row[index]) for index in (0, *columns)))
        return made

    parts: list[list[int]] = []
    for index in kept:
        if parts and _fits(table([*parts[-1], index], [widest_row]), console):
            parts[-1].append(index)
        else:
            parts.append([index])
    for number, columns in enumerate(parts):
        if number:
            console.print()
        console.print(table(columns, rows))


def _widest(rows: Sequence[Sequence[str]]) -> list[str]:
    """The longest text of each column: a table of this row alone is as wide as that of all, and soon measured."""
    return [max(column, key=len) for column in zip(*rows, strict=True)]


def _table(comparison: Comparison, columns: Sequence[Column], widest: bool = False) -> Table:
    """The rows of these columns, the best ones marked; with `widest` a table of one row that is as wide."""
    table = _bare_table()
    for column in columns:
        table.add_column(
            _plain("\n".join(column.title.split())),
            justify="right" if column.is_number else "left",
            vertical="bottom",
            no_wrap=column.is_number,
            overflow="fold",
        )
    best = [row is comparison.best or (comparison.across is not None and row.rank == 1) for row in comparison.rows]
    texts = [[column.text(row) for column in columns] for row in comparison.rows]
    for row, is_best in zip(texts, best, strict=True):
        row[0] = f"* {row[0]}" if is_best else row[0]
    if widest:
        texts, best = [_widest(texts)], [False]
    for row, is_best in zip(texts, best, strict=True):
        table.add_row(*map(_plain, row), style="bold green" if is_best else None)
    return table


def _bare_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _render_differences(comparison: Comparison, console: Console) -> None:
    """One row a key and one column a variant where that fits, else a line a key.

    Over several tasks the rows that say what a key is in each task, or in each variant, name just these.
    """
    differing, labels = comparison.differences, comparison.ranking
    names = {row.label: (row.experiment, row.variant) for row in comparison.rows}
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
        shown = {label: show_value(values, label) for label in labels}
        for label in labels:
            alike.setdefault(shown[label], []).append(label)
        if comparison.across is not None:
            alike = _by_part(shown, names) or alike
        _say(console, f"  {key}: " + "; ".join(f"{value} ({listed(of, MOST_LABELS)})" for value, of in alike.items()))


def _by_part(shown: Mapping[str, str], names: Mapping[str, tuple[str, str]]) -> dict[str, list[str]] | None:
    """Value -> experiments where it is one an experiment, else -> variants where it is one a variant, else None."""
    for part in (0, 1):
        values: dict[str, set[str]] = {}
        for label, text in shown.items():
            values.setdefault(names[label][part], set()).add(text)
        if all(len(texts) == 1 for texts in values.values()):
            alike: dict[str, list[str]] = {}
            for name, texts in values.items():
                alike.setdefault(next(iter(texts)), []).append(name)
            return alike
    return None


def _fits(table: Table, console: Console) -> bool:
    return console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _say(console: Console, sentence: str, style: str = "") -> None:
    console.print(_plain(sentence), style=style, soft_wrap=True)
