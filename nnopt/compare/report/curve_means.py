"""Means over the seeds of a variant, column by column, where its runs have steps in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnopt.compare.curves import Aligned, Floats, align
from nnopt.compare.groups import Group
from nnopt.compare.report.lists import Lists
from nnopt.compare.series import series
from nnopt.store.record import RunRecord


def group_means(
    group: Group, columns: Sequence[str], axes: Sequence[str], most: int, lists: Lists
) -> dict[str, list[dict[str, Any]]]:
    """Mean and standard deviation of each column, in pieces over which one line may be drawn, of about `most` points.

    There is no piece where the runs that are done are fewer than two, or have few steps in common. A point lies at
    the mean place of the runs that have a value there.
    """
    steps, places = _places(group.results, axes)
    return {column: _means(group.results, column, steps, places, most, lists) for column in columns}


def _places(records: Sequence[RunRecord], axes: Sequence[str]) -> tuple[Floats, dict[str, Floats]]:
    """The k steps of all runs, and where they lie on each axis: [n, k], NaN where a run has no row or no value."""
    curves = [record.curve() for record in records]
    own = [np.array(curve.get("step", []), np.float64) for curve in curves]
    steps = np.unique(np.concatenate(own)) if own else np.empty(0)
    places = {axis: np.full((len(records), len(steps)), np.nan) for axis in axes}
    for axis, matrix in places.items():
        for row, (curve, at) in enumerate(zip(curves, own, strict=True)):
            if curve.get(axis):
                matrix[row, np.searchsorted(steps, at)] = np.array(curve[axis], np.float64)
    return steps, places


def _means(
    records: Sequence[RunRecord],
    column: str,
    steps: Floats,
    places: Mapping[str, Floats],
    most: int,
    lists: Lists,
) -> list[dict[str, Any]]:
    aligned = align(records, column)
    if len(aligned.values) < 2 or not aligned.has_common_steps:
        return []
    runs = [row for row, record in enumerate(records) if series(record, column).values]
    here = np.searchsorted(steps, aligned.steps)
    x = {axis: _mean(matrix[runs][:, here], aligned) for axis, matrix in places.items()}
    made = []
    for piece in aligned.segments():
        kept = piece[_every(len(piece), most)]
        made.append(
            {
                "x": {axis: lists.add(values[kept].tolist()) for axis, values in x.items() if values is not None},
                "mean": lists.add(aligned.mean[kept].tolist()),
                "sd": lists.add(aligned.sd[kept].tolist()),
                "n": lists.add(aligned.count[kept].tolist()),
            }
        )
    return made


def _mean(places: Floats, aligned: Aligned) -> Floats | None:
    """[k]: the mean of `places` [n, k] over the runs that have a value of the column; None if one is not known."""
    known = np.where(aligned.present, places, 0.0)
    return None if np.isnan(known).any() else np.asarray(known.sum(axis=0) / aligned.count, np.float64)


def _every(count: int, most: int) -> list[int]:
    """At most about `most` of the places 0 to count - 1 at equal distances, the first and the last among them."""
    stride = -(-count // most)
    return sorted({*range(0, count, stride), count - 1})
