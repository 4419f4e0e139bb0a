"""Targets that lie beside the inputs in an array or a list, read as the columns of a table are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nnopt.data.raw import Array
from nnopt.data.sources.table_columns import Column, column_of, joined
from nnopt.data.sources.table_targets import Targets, targets_of
from nnopt.errors import DataError

OwnTask = Literal["classification", "regression", "multilabel"]


def read_targets(
    values: Array, beside: Array | None, names: Sequence[str], task: OwnTask, where: tuple[str, str]
) -> tuple[Targets, Array | None]:
    """Targets, and those of the test part.

    Args:
        values: [n] or [n, d]: numbers, words or truth values, as read.
        beside: [m] or [m, d], those of the test part; None where it is to be drawn.
        names: what the d columns are called; a single one names the columns of several by their numbers.
        task: what they are targets of.
        where: where the two lie, for messages.

    Raises:
        DataError: a class alone, words where numbers belong, a gap, ...; row and column are named.
    """
    columns = _columns(values, names, task, where[0])
    if beside is not None:
        others = _columns(beside, names, task, where[1])
        if len(others) != len(columns):
            raise DataError(f"{where[1]} has {len(others)} targets a row, {where[0]} has {len(columns)}")
        columns = [joined(first, second) for first, second in zip(columns, others, strict=True)]
    found = targets_of(columns, task, ())
    n = len(values)
    return Targets(found.values[:n], found.classes), None if beside is None else found.values[n:]


def _columns(values: Array, names: Sequence[str], task: OwnTask, where: str) -> list[Column]:
    """The columns of `values` [n] or [n, d]."""
    import pandas

    table = values[:, None] if values.ndim == 1 else values
    if table.ndim != 2 or (task == "classification" and table.shape[1] != 1):
        shape = "x".join(map(str, values.shape))
        wanted = "one class a row" if task == "classification" else "one row of targets a sample"
        advice = "; for several yes or no answers write task: multilabel, for numbers task: regression"
        raise DataError(
            f"{where}: targets of shape {shape}, where {wanted} is needed{advice if table.ndim == 2 else ''}"
        )
    if table.dtype.kind not in "biufOUS":
        raise DataError(f"{where}: targets of type {table.dtype} are neither classes nor numbers")
    called = names if len(names) == table.shape[1] else [str(number) for number in range(table.shape[1])]
    words = task == "classification"
    return [
        column_of(pandas.Series(_plain(table[:, place])), name, where, ".", words) for place, name in enumerate(called)
    ]


def _plain(column: Array) -> Array:
    """Words as objects, those without a letter as gaps."""
    if column.dtype.kind not in "OUS":
        return column
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in column.tolist()]
    return np.array([None if isinstance(text, str) and not text.strip() else text for text in texts], dtype=object)
