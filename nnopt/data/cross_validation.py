"""Which rows are for validation in one run of a cross-validation."""

from __future__ import annotations

import numpy as np

from nnopt.data.fold import Fold
from nnopt.data.raw import Array, Raw
from nnopt.data.split_kinds import split
from nnopt.data.splits import Rows
from nnopt.errors import DataError


def fold_rows(raw: Raw, labels: Array | None, fold: Fold, test: float | None, seed: int) -> Rows:
    """Split the rows of `raw`: the test rows as without folds, the rest into folds, one of which is for validation.

    Folds of one block are disjoint and are together all rows that are not for test. Their sizes differ by at most one
    row, and so does any class from fold to fold; where groups stay whole, sizes are as equal as these allow.

    Args:
        raw: the content of a source.
        labels: [n] class numbers for equal shares in every fold, or None.
        fold: which fold is for validation.
        test: a count of rows, or a share of all rows; None leaves the test part empty.
        seed: from 0 to 2^32 - 1.

    Raises:
        DataError: a fold, or the test part, would have no row; or rows follow each other in time.
    """
    if raw.times is not None:
        raise DataError("data.folds: folds of a split by time would train on what comes after; leave one of them out")
    chosen = np.empty(0, np.int64) if test is None else split(raw, labels, 1, test, seed).test
    rest = np.setdiff1d(np.arange(len(raw.targets)), chosen)
    generator = np.random.RandomState([seed, fold.block])
    if raw.groups is None:
        held = _dealt_out(rest, labels, fold, generator)
    else:
        held = _whole_groups(raw.groups[rest], fold, generator)
    return Rows(rest[~held], rest[held], np.sort(chosen))


def _dealt_out(rows: Array, labels: Array | None, fold: Fold, generator: np.random.RandomState) -> Array:
    """Which of `rows` [m] are in the fold: they are dealt out in turn, class by class."""
    if fold.count > len(rows):
        raise DataError(f"data.folds: {fold.count} folds of {len(rows)} rows leave some empty; ask for fewer")
    order = generator.permutation(len(rows))
    if labels is not None:
        order = order[np.argsort(labels[rows[order]], kind="stable")]
    held = np.zeros(len(rows), bool)
    held[order[fold.place :: fold.count]] = True
    return held


def _whole_groups(groups: Array, fold: Fold, generator: np.random.RandomState) -> Array:
    """Which rows [m] are in the fold: groups go, the largest first, to the fold that has fewest rows by then."""
    numbers, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if fold.count > len(numbers):
        raise DataError(f"data.folds: {fold.count} folds of {len(numbers)} groups leave some empty; ask for fewer")
    order = generator.permutation(len(numbers))
    order = order[np.argsort(-sizes[order], kind="stable")]
    rows_of = np.zeros(fold.count, np.int64)
    fold_of = np.empty(len(numbers), np.int64)
    for group in order:
        fold_of[group] = int(rows_of.argmin())
        rows_of[fold_of[group]] += sizes[group]
    return np.asarray(fold_of[place] == fold.place)
