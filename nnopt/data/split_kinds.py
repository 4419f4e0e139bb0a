"""Splits of rows that belong together: by time, or by groups that stay whole."""

from __future__ import annotations

import numpy as np

from nnopt.data.raw import Array, Raw
from nnopt.data.splits import Rows, count_of, split_rows
from nnopt.errors import DataError


def split(raw: Raw, labels: Array | None, validation: float, test: float | None, seed: int) -> Rows:
    """Split the rows of `raw`: as its source does, by time or by groups where it tells of them, else at random.

    Args:
        raw: the content of a source.
        labels: [n] class numbers for equal shares in every part of a random split, or None.
        validation: a count of rows, or a share (below 1) of the rows that the test part leaves.
        test: a count of rows, or a share of all rows; None leaves the test part empty.
        seed: from 0 to 2^32 - 1; a split by time draws nothing.

    Raises:
        DataError: a part would have no row.
    """
    if raw.validation_rows is not None:
        return _split_beside(raw.validation_rows, len(raw.targets), labels, test, seed)
    if raw.times is not None:
        return split_by_time(raw.times, validation, test)
    if raw.groups is not None:
        return split_by_groups(raw.groups, validation, test, seed)
    return split_rows(len(raw.targets), labels, validation, test, seed)


def split_by_time(times: Array, validation: float, test: float | None) -> Rows:
    """The last rows are for test, those before them for validation, the first for training.

    Rows of one time stay together: where the border of a part falls among them, all go to the later part. So no part
    holds a row from after the beginning of the next.

    Args:
        times: [n] numbers that grow with time.
        validation: a count of rows, or a share of the rows that the test part leaves.
        test: a count of rows, or a share of all rows; None leaves the test part empty.

    Raises:
        DataError: a part would have no row.
    """
    order = np.argsort(times, kind="stable")
    rest, chosen = order, order[:0]
    if test is not None:
        rest, chosen = _cut(times, order, count_of("test", test, len(order)), "test")
    train, held = _cut(times, rest, count_of("validation", validation, len(rest)), "validation")
    return Rows(np.sort(train), np.sort(held), np.sort(chosen))


def split_by_groups(groups: Array, validation: float, test: float | None, seed: int) -> Rows:
    """Every group is whole in one part: groups are drawn at random until a part has about its number of rows.

    A group that would bring a part further from its number than it was is passed over, but the first one, so that
    every part has a group.

    Args:
        groups: [n] group numbers from 0.
        validation: a count of rows, or a share of the rows that the test part leaves.
        test: a count of rows, or a share of all rows; None leaves the test part empty.
        seed: from 0 to 2^32 - 1.

    Raises:
        DataError: there are fewer groups than parts.
    """
    sizes = np.bincount(groups)
    parts = 2 if test is None else 3
    if len(sizes) < parts:
        raise DataError(f"data.split: {len(sizes)} groups are too few for {parts} parts; every part needs one")
    # As in split_rows: a stream that is the same in all versions of numpy.
    rest = np.random.RandomState(seed).permutation(len(sizes))
    chosen = rest[:0]
    if test is not None:
        chosen, rest = _draw(rest, sizes, count_of("test", test, len(groups)), leave=2)
    left = int(sizes[rest].sum())
    held, train = _draw(rest, sizes, count_of("validation", validation, left), leave=1)
    return Rows(*(np.flatnonzero(np.isin(groups, part)) for part in (train, held, chosen)))


def _cut(times: Array, order: Array, count: int, part: str) -> tuple[Array, Array]:
    """The rows before, and at least `count` rows after, a change of time."""
    border = len(order) - count
    border = int(np.searchsorted(times[order], times[order[border]], side="left"))
    if border == 0:
        raise DataError(
            f"data.split: the rows of {part} and all before them have one and the same time; none is left to train on"
        )
    return order[:border], order[border:]


def _draw(order: Array, sizes: Array, count: int, leave: int) -> tuple[Array, Array]:
    """Groups with about `count` rows, taken in `order`, and the others, at least `leave` of them."""
    taken, total = [order[0]], int(sizes[order[0]])
    for group in order[1:]:
        size = int(sizes[group])
        if len(order) - len(taken) > leave and abs(total + size - count) < abs(total - count):
            taken.append(group)
            total += size
    return np.array(taken), order[~np.isin(order, taken)]


def _split_beside(held: Array, n: int, labels: Array | None, test: float | None, seed: int) -> Rows:
    """The validation part is what the source says, a test part is drawn from the other rows where none is given."""
    rest = np.setdiff1d(np.arange(n), held)
    if test is None:
        return Rows(rest, held, rest[:0])
    drawn = split_rows(len(rest), None if labels is None else labels[rest], count_of("test", test, n), None, seed)
    return Rows(rest[drawn.train], held, rest[drawn.validation])
