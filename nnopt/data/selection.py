"""Which classes and training rows of a source a run sees: chosen classes, a fraction, rare classes, wrong labels.

Validation and test rows stay what they are without any of this, but for rows of classes that were not chosen.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nnopt.data.cross_validation import fold_rows
from nnopt.data.fold import Fold
from nnopt.data.raw import Array, Raw
from nnopt.data.split_kinds import split
from nnopt.data.splits import Rows
from nnopt.errors import DataError

SHOWN = 12  # names of classes that a message lists


@dataclass(frozen=True)
class Selection:
    """What the keys of a data set ask for.

    Attributes:
        classes: names or numbers of the classes to keep, in the order of their new numbers; () keeps all.
        imbalance: class -> the share of its training rows that is kept.
        fraction: how much of the training part is kept: a share (below 1), or a count of rows; None keeps all.
        label_noise: the share of the training rows whose class is replaced by another.
        fold: which rows are for validation, where the data is cross-validated.
    """

    classes: tuple[str | int, ...] = ()
    imbalance: Mapping[str, float] = field(default_factory=dict)
    fraction: float | None = None
    label_noise: float = 0.0
    fold: Fold | None = None

    def check(self, raw: Raw) -> None:
        """Check that what is asked of classes is asked of data that has them.

        Raises:
            DataError: it asks several questions or none about classes.
        """
        for key in ("classes", "imbalance", "label_noise"):
            if getattr(self, key) and raw.task != "classification":
                raise DataError(f"data.{key} is for data with one class a row; this data asks for {raw.task}")


def chosen_classes(raw: Raw, wanted: Sequence[str | int]) -> Raw:
    """The same rows with only the `wanted` classes, numbered anew in that order; rows of others get class -1.

    Raises:
        DataError: there is no such class, or one is wanted twice.
    """
    if not wanted:
        return raw
    places = [find_class(raw.classes, name, "data.classes") for name in wanted]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise DataError(f"data.classes: class {raw.classes[place]} is there twice")
    renumbered = np.full(len(raw.classes), -1, np.int64)
    renumbered[places] = np.arange(len(places))
    return replace(
        raw,
        targets=renumbered[raw.targets],
        classes=tuple(raw.classes[place] for place in places),
        test_targets=None if raw.test_targets is None else renumbered[raw.test_targets],
    )


def chosen_rows(raw: Raw, selection: Selection, validation: float, test: float | None, seed: int) -> Rows:
    """The rows of the three parts: those of chosen classes, split, and of the training part what is kept.

    Args:
        raw: the content of a source, as `chosen_classes` gives it.
        selection: what is asked for.
        validation: a count of rows, or a share of the rows that the test part leaves; not looked at for a fold.
        test: a count or a share of all rows; None where the source has an official test part, of which these are
            the rows of chosen classes.
        seed: of the split.

    Raises:
        DataError: a part would have no row.
    """
    labels = raw.targets if raw.task == "classification" else None
    present = np.arange(len(raw.targets))
    if labels is not None and (labels < 0).any():
        present = np.flatnonzero(labels >= 0)
        raw, labels = _only(raw, present), labels[present]
    if selection.fold is not None:
        rows = fold_rows(raw, labels, selection.fold, test, seed)
    else:
        rows = split(raw, labels, validation, test, seed)
    train = reduced(rows.train, None if labels is None else labels[rows.train], raw.classes, selection, seed)
    return Rows(present[train], present[rows.validation], present[rows.test])


def _only(raw: Raw, rows: Array) -> Raw:
    """What a split looks at, of some rows alone."""
    groups = None if raw.groups is None else np.unique(raw.groups[rows], return_inverse=True)[1]
    times = None if raw.times is None else raw.times[rows]
    held = None if raw.validation_rows is None else np.flatnonzero(np.isin(rows, raw.validation_rows))
    return replace(raw, targets=raw.targets[rows], times=times, groups=groups, validation_rows=held)


def official_test_rows(raw: Raw) -> Array:
    """The row numbers of chosen classes in the official test part.

    Raises:
        DataError: there are none.
    """
    targets = np.empty(0) if raw.test_targets is None else raw.test_targets
    if raw.task != "classification":
        return np.arange(len(targets))
    kept = np.flatnonzero(targets >= 0)
    if not len(kept):
        raise DataError(f"data.classes: the test part has no row of class {', '.join(raw.classes)}")
    return kept


def find_class(classes: Sequence[str], name: str | int, key: str) -> int:
    """The number of the class called `name`; a whole number that is no name counts from 0.

    Raises:
        DataError: there is none; `key` is where it was asked for.
    """
    if str(name) in classes:
        return list(classes).index(str(name))
    if isinstance(name, int) and 0 <= name < len(classes):
        return name
    shown = ", ".join(classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
    raise DataError(f"{key}: there is no class '{name}'; the {len(classes)} classes are {shown}")


def reduced(rows: Array, labels: Array | None, classes: Sequence[str], selection: Selection, seed: int) -> Array:
    """Those of the training `rows` [m] that are kept, ascending: first of rare classes, then of all.

    What is kept of a fraction is part of what is kept of any larger one, and has every class in its share to the
    nearest row or two, and at least once where there are as many rows as classes.

    Args:
        rows: row numbers of the training part.
        labels: [m] their class numbers, None where targets are no classes.
        classes: the names of the classes.
        selection: what is asked for.
        seed: of the split.

    Raises:
        DataError: fewer rows than one, or more than there are, would be left.
    """
    if labels is not None and selection.imbalance:
        kept = _rare(labels, classes, selection.imbalance, seed)
        rows, labels = rows[kept], labels[kept]
    if selection.fraction is not None:
        rows = rows[_nested(labels, len(rows), _count(selection.fraction, len(rows)), seed)]
    return rows


def noisy(labels: Array, classes: int, selection: Selection, seed: int) -> Array:
    """`labels` [n] with the share of label noise, to the nearest row, replaced by another class, all equally likely.

    A larger share has all wrong labels of a smaller one.
    """
    if not selection.label_noise:
        return labels
    drawn = _stream(seed, "label noise", selection.fold)
    order = drawn.permutation(len(labels))
    moved = drawn.randint(1, classes, len(labels))  # so far on, round the circle of classes
    wrong = order[: round(selection.label_noise * len(labels))]
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + moved[wrong]) % classes
    return changed


def _rare(labels: Array, classes: Sequence[str], imbalance: Mapping[str, float], seed: int) -> Array:
    """Places of the rows that are kept where classes are made rare: at least one of each."""
    kept = np.ones(len(labels), bool)
    for name, share in imbalance.items():
        is_number = name.isdecimal() and name not in classes
        number = find_class(classes, int(name) if is_number else name, "data.imbalance")
        places = _stream(seed, "imbalance", None, number).permutation(np.flatnonzero(labels == number))
        kept[places[max(1, round(share * len(places))) :]] = False
    return np.flatnonzero(kept)


def _nested(labels: Array | None, n: int, count: int, seed: int) -> Array:
    """Places of `count` of `n` rows, ascending: the first of an order in which every class is spread evenly."""
    order = _stream(seed, "fraction", None).permutation(n)
    if labels is not None:
        found = labels[order]
        sizes = np.bincount(found)
        by_class = np.argsort(found, kind="stable")
        rank = np.empty(n, np.int64)  # [n], the place of each row among those of its class
        rank[by_class] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        # The first row of every class leads, then a row stands where its class has come to that share of it.
        reached = np.where(rank == 0, 0.0, (rank + 0.5) / sizes[found])
        order = order[np.argsort(reached, kind="stable")]
    return np.sort(order[:count])


def _count(fraction: float, n: int) -> int:
    count = fraction if isinstance(fraction, int) else round(fraction * n)
    if count < 1:
        raise DataError(f"data.fraction: a share of {fraction:g} of {n} training rows is less than one; ask for more")
    if count > n:
        raise DataError(f"data.fraction: {count} rows are more than the {n} for training; ask for fewer")
    return int(count)


def _stream(seed: int, purpose: str, fold: Fold | None, *numbers: int) -> np.random.RandomState:
    """A stream of its own for each purpose; RandomState's never changes (NEP 19)."""
    of_fold = () if fold is None else (fold.count, fold.block, fold.place)
    return np.random.RandomState([seed, zlib.crc32(purpose.encode()), *of_fold, *numbers])
