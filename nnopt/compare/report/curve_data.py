"""The curves as the page draws them: runs and means over seeds, their lists of numbers thinned where they are long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnopt.compare.comparison import Comparison
from nnopt.compare.groups import Group
from nnopt.compare.pictures.figure import MOST_LINES
from nnopt.compare.report.curve_means import group_means
from nnopt.compare.report.lists import Lists
from nnopt.compare.report.look import look
from nnopt.compare.series import series
from nnopt.store.record import RunRecord

# What curves are drawn against: the column of metrics.csv, and what it is called.
AXES = {
    "step": "steps",
    "train_seconds": "training seconds",
    "samples": "samples",
    "gradient_evaluations": "gradient evaluations",
}
NO_CURVE = (*AXES, "epoch")
TRAIN_LOSS = "train_loss"
LOG_FROM = 5  # a loss that spans more than this many times itself is drawn on a logarithmic axis
# Numbers on the page, so that it stays below 6 MB, and points a line: at most, and at least whatever that adds up to.
MOST_NUMBERS = 100_000
MOST_POINTS, FEWEST_POINTS = 1000, 50


@dataclass(frozen=True)
class CurveData:
    """`value` is what the page reads; `hidden` columns are not on it, `thinned` says that points were left out."""

    value: dict[str, Any]
    columns: tuple[str, ...]
    hidden: tuple[str, ...]
    thinned: bool


def curve_data(comparison: Comparison, lists: Lists) -> CurveData:
    """The curves of the first 21 variants of the ranking.

    A line keeps at most 1,000 points, fewer where there are many lines: of each stretch of evaluations the first
    and those with the least and the greatest value of the two columns shown first; the first and the last of all.
    """
    groups = comparison.groups[:MOST_LINES]
    records = [record for group in groups for record in group.records]
    filled = dict.fromkeys(
        column for record in records for column, values in record.curve().items() if any(map(_is_finite, values))
    )
    ordered = _ordered([column for column in filled if column not in NO_CURVE], comparison)
    axes = [axis for axis in AXES if axis in filled]
    shown = ordered[: max(2, MOST_NUMBERS // (FEWEST_POINTS * max(len(records), 1)) - len(axes))]
    lines = len(records) * (len(axes) + len(shown)) + len(groups) * (len(axes) + 2 * len(shown))
    points = MOST_NUMBERS // max(lines, 1)
    most = min(max(points, FEWEST_POINTS), MOST_POINTS)
    rows = [[_thin(record, shown[:2], most) for record in group.records] for group in groups]
    thinned = any(
        len(kept) < _length(record)
        for group, of_group in zip(groups, rows, strict=True)
        for record, kept in zip(group.records, of_group, strict=True)
    )
    value = {
        "axes": {axis: AXES[axis] for axis in axes},
        "columns": {column: {"log": _is_log(column, comparison, groups)} for column in shown},
        "target": _target(comparison),
        "groups": [
            {
                "label": group.label,
                **look(index),
                "runs": [
                    _run(record, kept, axes, shown, lists) for record, kept in zip(group.records, of_group, strict=True)
                ],
                "means": group_means(group, shown, axes, most, lists),
            }
            for index, (group, of_group) in enumerate(zip(groups, rows, strict=True))
        ],
    }
    return CurveData(value, tuple(shown), tuple(ordered[len(shown) :]), thinned)


def _ordered(columns: list[str], comparison: Comparison) -> list[str]:
    """First what is compared, then the training loss, then the rest as it stands in the files."""
    first = [column for column in (comparison.column, TRAIN_LOSS) if column in columns]
    wanted = [column for column in columns if column.startswith("val_")]
    return list(dict.fromkeys([*(column for column in first if column), *wanted, *columns]))


def _target(comparison: Comparison) -> dict[str, Any] | None:
    target = comparison.target
    return None if target is None else {"metric": target.metric, "value": target.value}


def _is_log(column: str, comparison: Comparison, groups: Sequence[Group]) -> bool:
    """Losses always, other errors where they span more than a few times themselves; positive values only."""
    higher = column == comparison.column and comparison.higher_is_better
    values = [value for group in groups for record in group.results for value in series(record, column).values]
    if higher or not values or min(values) <= 0 or not column.endswith(("loss", "mse", "mae")):
        return False
    return column == TRAIN_LOSS or max(values) > LOG_FROM * min(values)


def _length(record: RunRecord) -> int:
    return max((len(values) for values in record.curve().values()), default=0)


def _thin(record: RunRecord, columns: Sequence[str], most: int) -> list[int]:
    """The rows of metrics.csv that are drawn."""
    count = _length(record)
    if count <= most:
        return list(range(count))
    kept = {0, count - 1}
    # Of each stretch the first row, and for each column two.
    for part in np.array_split(np.arange(count), max(most // (1 + 2 * len(columns)), 1)):
        kept.add(int(part[0]))
        for column in columns:
            values = record.curve().get(column, [])
            known = [row for row in part.tolist() if values and _is_finite(values[row])]
            if known:
                kept |= {min(known, key=lambda row: values[row] or 0.0), max(known, key=lambda row: values[row] or 0.0)}
    return sorted(kept)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _run(
    record: RunRecord, rows: Sequence[int], axes: Sequence[str], columns: Sequence[str], lists: Lists
) -> dict[str, Any]:
    curve = record.curve()

    def taken(names: Sequence[str]) -> dict[str, int]:
        return {name: lists.add(curve[name][row] for row in rows) for name in names if curve.get(name)}

    return {
        "seed": record.seed,
        "status": record.status,
        "x": taken(axes),
        "y": taken(columns),
        "lost_at": (record.summary.get("diverged") or {}).get("step"),
    }
