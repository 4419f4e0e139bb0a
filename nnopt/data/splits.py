"""Which rows are for training, validation and test: seeded, and with equal class shares in every part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnopt.data.raw import Array
from nnopt.errors import DataError


@dataclass(frozen=True, eq=False)
class Rows:
    """Row numbers of the three parts, ascending and disjoint; together all rows.

    Attributes:
        train: [n_train] int64.
        validation: [n_validation] int64.
        test: [n_test] int64; empty where the source has an official test part.
    """

    train: Array
    validation: Array
    test: Array


def split_rows(n: int, labels: Array | None, validation: float, test: float | None, seed: int) -> Rows:
    """Split `n` rows: the test part is drawn first, the validation part from the rest.

    So the test rows depend on `test` and `seed` alone. With `labels` each part has every class in the same
    share as the whole, to the nearest row.

    Args:
        n: the number of rows.
        labels: [n] class numbers from 0, or None where targets are real-valued.
        validation: a count of rows, or a share (below 1) of the rows that the test part leaves.
        test: a count of rows, or a share of all rows; None leaves the test part empty.
        seed: from 0 to 2^32 - 1.

    Raises:
        DataError: a part, or a class within the training part, would have no row.
    """
    # RandomState, not default_rng: numpy keeps its stream the same in all versions (NEP 19), so a split is
    # the same wherever it is made.
    generator = np.random.RandomState(seed)
    rest = np.arange(n)
    chosen = rest[:0]
    if test is not None:
        chosen, rest = _take(rest, labels, count_of("test", test, n), generator)
    held, train = _take(rest, labels, count_of("validation", validation, len(rest)), generator)
    return Rows(np.sort(train), np.sort(held), np.sort(chosen))


def check_classes(labels: Array, classes: tuple[str, ...], where: str) -> None:
    """Check that every class has a row.

    Args:
        labels: [n] class numbers.
        classes: the names of the classes.
        where: the rows in words, for the message.

    Raises:
        DataError: a class without rows.
    """
    counts = np.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise DataError(f"{where} has no row of class {', '.join(empty)}; every class needs one to learn from")


def count_of(part: str, amount: float, n: int) -> int:
    """`amount` as a number of rows of `n`."""
    count = amount if isinstance(amount, int) else round(amount * n)
    if count < 1:
        raise DataError(f"data.{part}: a share of {amount:g} of {n} rows is less than one row; ask for more")
    if count >= n:
        raise DataError(f"data.{part}: {count} of {n} rows leaves none to train on; ask for fewer")
    return int(count)


def _take(rows: Array, labels: Array | None, count: int, generator: np.random.RandomState) -> tuple[Array, Array]:
    """`count` of `rows`, drawn at random, and the others."""
    rows = generator.permutation(rows)
    if labels is None:
        return rows[:count], rows[count:]
    found = labels[rows]
    sizes = np.bincount(found)
    order = np.argsort(found, kind="stable")
    rank = np.empty_like(order)  # [m], the place of each row among those of its class
    rank[order] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    taken = rank < _quotas(sizes, count)[found]
    return rows[taken], rows[~taken]


def _quotas(sizes: Array, count: int) -> Array:
    """`count` shared out in proportion to `sizes` (largest remainder), in whole rows: [classes]."""
    quotas, remainders = np.divmod(sizes * count, sizes.sum())
    still = count - int(quotas.sum())
    quotas[np.argsort(-remainders, kind="stable")[:still]] += 1
    return quotas
