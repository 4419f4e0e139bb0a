"""Tables of a user's own: which columns are inputs, which are targets, and which say how the rows are split."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnopt.data.raw import Array, Raw, joined_digest
from nnopt.data.sources.table_columns import Column, joined, parsed
from nnopt.data.sources.table_files import Format, hash_of, names_in, read_columns
from nnopt.data.sources.table_targets import targets_of
from nnopt.data.table_layout import fitted
from nnopt.data.task import Task
from nnopt.errors import DataError

# Columns with more different words are taken as categories only where that is asked for: each word is an input.
MOST_WORDS = 100
# What pandas calls the index of a frame that it writes: numbers of rows, from which nothing is to be learnt.
INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for.

    Attributes:
        task: classification, regression, multilabel or multitask.
        target: the target columns.
        columns: the input columns; () for all that have no other role.
        leave_out: columns that are not read.
        categorical: columns whose values are categories though they may look like numbers, or are many.
        time: the column that the parts follow each other in.
        group: the column whose values are each whole in one part.
    """

    task: Task
    target: tuple[str, ...]
    columns: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    time: str | None = None
    group: str | None = None

    @property
    def as_words(self) -> set[str]:
        """Columns whose values are words, though they may look like numbers."""
        return {*self.categorical, *(self.target if self.task == "classification" else ())}

    @property
    def of_split(self) -> tuple[str, ...]:
        """The column that says how the rows are split, if any."""
        return tuple(name for name in (self.time, self.group) if name is not None)

    def inputs(self, names: Sequence[str], where: Path | str) -> list[str]:
        """The input columns of a table that has columns `names`.

        Raises:
            DataError: a column that is not there, has no name, or there is no input column.
        """
        asked = {"target": self.target, "columns": self.columns, "leave_out": self.leave_out}
        asked |= {"categorical": self.categorical, "split.column": self.of_split}
        for key, wanted in asked.items():
            for name in wanted:
                if name not in names:
                    raise DataError(f"data.{key}: {where} has no column '{name}'{_which(name, names)}")
        taken = {*self.target, *self.leave_out, *self.of_split}
        found = list(self.columns) or [name for name in names if name not in taken and not INDEX.fullmatch(name)]
        if not found:
            raise DataError(f"{where} has no column beside {', '.join(sorted(taken))}: there is nothing to learn from")
        if "" in found:
            place = list(names).index("") + 1
            raise DataError(f"column {place} of {where} has no name: name it, or leave it out by data.leave_out: ['']")
        return found


def read(path: Path, test_path: Path | None, form: Format, roles: Roles) -> Raw:
    """A table, and a second one with test rows, as `Raw`: gaps are filled once the training rows are known.

    Raises:
        DataError: a table that cannot be read, or does not hold what its columns are for.
    """
    names = names_in(path, form)
    inputs = roles.inputs(names, path)
    wanted = list(dict.fromkeys([*inputs, *roles.target, *roles.of_split]))
    columns = read_columns(path, form, wanted, roles.as_words)
    n = len(columns[wanted[0]].values)
    if test_path is None:
        return raw_of(columns, n, inputs, roles, form, hash_of(path))
    there = names_in(test_path, form)
    lacking = [name for name in wanted if name not in there]
    if lacking:
        raise DataError(f"data.test_path: {test_path} lacks the column '{lacking[0]}' of {path}")
    second = read_columns(test_path, form, wanted, roles.as_words)
    columns = {name: joined(columns.pop(name), second.pop(name)) for name in wanted}
    return raw_of(columns, n, inputs, roles, form, joined_digest([hash_of(path), hash_of(test_path)]))


def raw_of(
    columns: Mapping[str, Column], n: int, inputs: Sequence[str], roles: Roles, form: Format, content_hash: str
) -> Raw:
    """Columns as `Raw`.

    Args:
        columns: by name, all of one length.
        n: the number of rows that are not of an official test part; those of such a part follow.
        inputs: the names of the input columns.
        roles: what the others are for.
        form: how a file with such columns is written.
        content_hash: of what was read.

    Raises:
        DataError: a column does not hold what it is for.
    """
    targets = targets_of([columns[name] for name in roles.target], roles.task, roles.categorical)
    features = [_feature(columns[name], name in roles.categorical) for name in inputs]
    groups = None if roles.group is None else _groups(columns[roles.group], n)
    official = n < len(targets.values)
    raw = Raw(
        inputs=np.empty((n, 0)),  # until the training rows are known
        targets=targets.values[:n],
        classes=targets.classes,
        content_hash=content_hash,
        test_inputs=np.empty((len(targets.values) - n, 0)) if official else None,
        test_targets=targets.values[n:] if official else None,
        questions=targets.questions,
        stated_task=roles.task,
        times=None if roles.time is None else _times(columns[roles.time])[:n],
        groups=groups,
    )

    def fit(rows: Array) -> Raw:
        layout = fitted(features, rows, form)
        values = layout.encode({column.name: column for column in features})
        return replace(
            raw,
            inputs=values[:n],
            test_inputs=values[n:] if official else None,
            layout=layout,
            unscaled=layout.unscaled,
            notes=tuple(_notes(features)),
        )

    return replace(raw, fit=fit)


def _feature(column: Column, categorical: bool) -> Column:
    """An input column: words that are all numbers become these.

    Raises:
        DataError: numbers with words among them, or too many words.
    """
    if column.words is None or categorical:
        return column
    numeric = ~np.isnan(parsed(column.words, column.decimal))
    if numeric.all():
        return column.numbers("")
    places = column.values[~column.gaps].astype(np.intp)
    if numeric[places].mean() >= 0.5:
        column.numbers(
            f"correct it, add it to data.missing where it stands for an empty cell, or name '{column.name}' in "
            "data.categorical or data.leave_out"
        )
    if len(column.words) > MOST_WORDS:
        raise DataError(
            f"column '{column.name}' of {column.where} has {len(column.words)} different words, such as "
            f"'{column.words[0][:40]}': name it in data.leave_out, or in data.categorical to make each an input"
        )
    return column


def _times(column: Column) -> Array:
    """Times [n] float64: numbers as they are, dates in seconds."""
    _check_told(column, "time")
    if column.words is None:
        return column.values
    numeric = parsed(column.words, column.decimal)
    if not np.isnan(numeric).any():
        return column.numbers("").values
    import pandas

    dates = pandas.to_datetime(list(column.words), format="ISO8601", utc=True, errors="coerce")
    unknown = np.asarray(dates.isna())
    if unknown.any():
        cells = np.isin(column.values, np.flatnonzero(unknown))
        word = column.words[int(column.values[np.argmax(cells)])]
        raise DataError(
            f"data.split: {column.row_of(cells)}: '{word[:40]}' in column '{column.name}' is neither a number nor a "
            "date such as 2024-05-31 or 2024-05-31T12:00"
        )
    seconds = np.asarray(dates.as_unit("us").asi8) / 1e6
    return np.asarray(seconds[column.values.astype(np.intp)])


def _groups(column: Column, n: int) -> Array:
    """Group numbers [n] of the rows that are not of an official test part."""
    _check_told(column, "group")
    shared = np.isin(column.values[:n], column.values[n:])
    if shared.any():
        value = column.values[np.argmax(shared)]
        name = f"{value:g}" if column.words is None else column.words[int(value)]
        raise DataError(f"data.split: group '{name}' of column '{column.name}' is in data.test_path as well")
    return np.unique(column.values[:n], return_inverse=True)[1]


def _check_told(column: Column, what: str) -> None:
    gaps = column.gaps
    if gaps.any():
        raise DataError(f"data.split: {column.row_of(gaps)} has no {what}: its cell in '{column.name}' is empty")


def _notes(features: Sequence[Column]) -> Iterable[str]:
    """What was done about empty cells."""
    counts = {column.name: int(column.gaps.sum()) for column in features}
    found = [f"{name} ({count})" for name, count in counts.items() if count]
    if found:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more columns" if len(found) > 5 else "")
        yield (
            f"Empty cells: {shown}. Numbers are filled with the median of the training rows, words with no category, "
            "and an input of its own tells where."
        )


def _which(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, [other for other in names if other], n=1, cutoff=0.55)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    if len(names) == 1:
        return f"; it has one column alone, '{names[0][:60]}': is data.delimiter right?"
    return f"; it has {shown}"
