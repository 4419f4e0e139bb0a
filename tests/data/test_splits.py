from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.data.splits import Rows, check_classes, split_rows
from nnopt.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)


def everything(rows: Rows) -> np.ndarray:
    return np.concatenate([rows.train, rows.validation, rows.test])


@st.composite
def labels_of_every_class(draw: st.DrawFn) -> np.ndarray:
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=6))
    order = draw(st.permutations(range(sum(sizes))))
    return np.repeat(np.arange(len(sizes)), sizes)[list(order)]


@settings(deadline=None, max_examples=60)
@given(labels_of_every_class(), st.data(), SEEDS, st.booleans())
def test_parts_are_disjoint_complete_and_of_the_size_asked_for(labels, data, seed, stratified):
    n = len(labels)
    test = data.draw(st.integers(1, max(1, n - 2)))
    if n - test < 2:
        return
    validation = data.draw(st.integers(1, n - test - 1))
    rows = split_rows(n, labels if stratified else None, validation, test, seed)
    assert sorted(everything(rows)) == list(range(n))
    assert (len(rows.test), len(rows.validation)) == (test, validation)
    assert all((np.diff(part) > 0).all() for part in (rows.train, rows.validation, rows.test))


@settings(deadline=None, max_examples=60)
@given(labels_of_every_class(), st.data(), SEEDS)
def test_each_class_has_its_share_of_the_validation_part_to_the_nearest_row(labels, data, seed):
    n = len(labels)
    count = data.draw(st.integers(1, n - 1))
    rows = split_rows(n, labels, count, None, seed)
    ideal = np.bincount(labels) * count / n
    found = np.bincount(labels[rows.validation], minlength=len(ideal))
    assert (np.abs(found - ideal) < 1).all()


def test_shares_are_of_all_rows_for_test_and_of_the_rest_for_validation():
    rows = split_rows(200, None, 0.25, 0.2, 0)
    assert (len(rows.test), len(rows.validation), len(rows.train)) == (40, 40, 120)


def test_the_test_rows_do_not_depend_on_the_validation_part():
    labels = np.arange(300) % 3
    one, other = (split_rows(300, labels, validation, 60, 5) for validation in (0.1, 100))
    assert (one.test == other.test).all()


def test_the_seed_alone_decides():
    labels = np.arange(100) % 4
    first, again, other = (split_rows(100, labels, 0.2, 0.2, seed) for seed in (1, 1, 2))
    assert (everything(first) == everything(again)).all()
    assert (everything(first) != everything(other)).any()


def test_the_stream_of_random_numbers_never_changes():
    # numpy keeps RandomState's stream (NEP 19); new numbers here mean that every user's split has moved.
    assert split_rows(12, None, 3, 3, 0).validation.tolist() == [0, 1, 3]
    assert split_rows(12, np.arange(12) % 2, 4, 4, 0).test.tolist() == [1, 4, 6, 11]


def test_every_row_is_drawn_equally_often():
    drawn = sum(np.bincount(split_rows(20, None, 5, None, seed).validation, minlength=20) for seed in range(2000))
    # 2000 draws with p = 1/4: mean 500, standard deviation 19.4; five of them is one in a million.
    assert (np.abs(drawn - 500) < 97).all()


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        (100, None, "data.validation: 100 of 100 rows leaves none to train on"),
        (80, 0.2, "data.validation: 80 of 80 rows leaves none to train on"),
        (1, 1000, "data.test: 1000 of 100 rows leaves none"),
        (0.001, None, "data.validation: a share of 0.001 of 100 rows is less than one row"),
        (0.5, 0.999, "data.test: 100 of 100 rows"),
    ],
)
def test_a_part_without_rows_is_refused(validation, test, message):
    with pytest.raises(DataError, match=message):
        split_rows(100, None, validation, test, 0)


def test_a_class_without_rows_is_refused():
    with pytest.raises(DataError, match=r"the training part of x has no row of class b, d; every class"):
        check_classes(np.array([0, 0, 2]), ("a", "b", "c", "d"), "the training part of x")
