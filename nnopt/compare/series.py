"""One column of one run's metrics.csv, with the place of every value on the axes of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnopt.errors import RunsFolderError
from nnopt.store.record import METRICS, RunRecord

# Never empty in metrics.csv.
AXES = ("step", "train_seconds")


@dataclass(frozen=True)
class Series:
    """The finite values of a column; `rows` are their places among all rows of metrics.csv.

    All lists have the same length: 0 where the run has no such column or no finite value in it.
    """

    rows: Sequence[int]
    values: Sequence[float]
    steps: Sequence[float]
    seconds: Sequence[float]


def series(record: RunRecord, column: str) -> Series:
    """The column of this name; made once a record, as many numbers are taken from it.

    Raises:
        RunsFolderError: metrics.csv is damaged, or lacks a value of `step` or `train_seconds`.
    """
    known = record.derived.get(column)
    if known is None:
        known = record.derived[column] = _series(record, column)
    assert isinstance(known, Series)
    return known


def settled_from(record: RunRecord, found: Series) -> int:
    """Place in `found` from which on the values are those of the network that came out: it changes in some runs.

    The number of values where there is none.
    """
    final = record.summary.get("final_step")
    if not isinstance(final, int) or final <= 0:
        return 0
    return next((place for place, step in enumerate(found.steps) if step >= final), len(found.steps))


def _series(record: RunRecord, column: str) -> Series:
    curve = record.curve()
    values = curve.get(column, [])
    if None not in values and all(map(math.isfinite, values)):  # type: ignore[arg-type]
        rows: Sequence[int] = range(len(values))
    else:
        rows = [row for row, value in enumerate(values) if value is not None and math.isfinite(value)]
    kept, *axes = (_at(rows, curve.get(name, [])) for name in (column, *AXES))
    if any(len(axis) < len(rows) for axis in axes):
        raise RunsFolderError(f"{record.folder / METRICS} is damaged: it lacks values of {' or '.join(AXES)}")
    return Series(rows, kept, *axes)


def _at(rows: Sequence[int], values: Sequence[float | None]) -> Sequence[float]:
    """The values at these rows that are there."""
    if isinstance(rows, range) and len(rows) == len(values) and None not in values:
        return values  # type: ignore[return-value]
    found = [values[row] for row in rows] if values else []
    return [value for value in found if value is not None]


def finite(value: object) -> float | None:
    """The value where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
