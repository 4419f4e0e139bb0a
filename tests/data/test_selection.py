from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.data.fold import Fold
from nnopt.data.prepare import prepare
from nnopt.data.raw import Raw
from nnopt.data.selection import Selection, chosen_classes, noisy, reduced
from nnopt.errors import DataError
from nnopt.spec.data.embedded import Digits

NAMES = ("cat", "dog", "7", "owl")
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (100, 60, 40, 200)))
# The one input of a row is its number, so that a prepared row tells where it comes from.
TABLE = Raw(np.arange(400.0)[:, None], LABELS, NAMES, "hash")
KEYS = {"validation": 0.2, "test": 0.25, "split_seed": 4, "normalise": "none"}
SEEDS = st.integers(0, 2**32 - 1)


def rows_of(part) -> list[int]:
    return part.inputs[:, 0].long().tolist()


def test_chosen_classes_are_renumbered_in_their_order_and_keep_their_rows():
    data = prepare("t", TABLE, **KEYS, selection=Selection(classes=("owl", 0)))
    assert data.classes == ("owl", "cat")
    for part in (data.train, data.validation, data.test):
        assert [NAMES[LABELS[row]] for row in rows_of(part)] == [data.classes[target] for target in part.targets]
    everything = [row for part in (data.train, data.validation, data.test) for row in rows_of(part)]
    assert sorted(everything) == np.flatnonzero(np.isin(LABELS, (0, 3))).tolist()
    assert (len(data.test), len(data.validation)) == (75, 45)


def test_a_number_that_is_a_name_is_that_name():
    assert chosen_classes(TABLE, (7, 1)).classes == ("7", "dog")


def test_an_official_test_part_keeps_the_rows_of_chosen_classes():
    raw = Raw(TABLE.inputs, LABELS, NAMES, "h", None, np.arange(6.0)[:, None], np.array([0, 1, 2, 3, 3, 0]))
    data = prepare("t", raw, **{**KEYS, "test": None}, selection=Selection(classes=("owl", "cat")))
    assert (rows_of(data.test), data.test.targets.tolist()) == ([0, 3, 4, 5], [1, 0, 0, 1])
    only = Raw(TABLE.inputs, LABELS, NAMES, "h", None, np.arange(2.0)[:, None], np.array([0, 2]))
    with pytest.raises(DataError, match="the test part has no row of class dog, owl"):
        prepare("t", only, **{**KEYS, "test": None}, selection=Selection(classes=("dog", "owl")))


def test_what_is_learnt_from_training_rows_is_learnt_from_the_chosen_ones():
    asked = []

    def fit(rows: np.ndarray) -> Raw:
        asked.append(rows)
        return TABLE

    raw = Raw(TABLE.inputs, LABELS, NAMES, "hash", fit=fit)
    data = prepare("t", raw, **KEYS, selection=Selection(classes=("owl", "cat"), fraction=30))
    assert [rows.tolist() for rows in asked] == [rows_of(data.train)]
    assert (len(data.train), data.classes) == (30, ("owl", "cat"))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(st.integers(1, 40), min_size=2, max_size=6), SEEDS)
def test_a_smaller_fraction_is_part_of_a_larger_one_and_has_every_class_in_its_share(data, sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    n = len(labels)
    few, many = sorted(data.draw(st.tuples(st.integers(1, n), st.integers(1, n))))
    names = tuple(map(str, range(len(sizes))))
    small, large = (reduced(np.arange(n), labels, names, Selection(fraction=count), seed) for count in (few, many))
    assert (len(small), len(large)) == (few, many)
    assert set(small) <= set(large)
    found, ideal = np.bincount(labels[small], minlength=len(sizes)), np.array(sizes) * few / n
    # Every class leads with one row, which the large classes pay for.
    assert (np.abs(found - ideal) <= len(sizes)).all()
    assert few < len(sizes) or found.all()


def test_a_fraction_of_numbers_and_a_share():
    found = reduced(np.arange(50, 150), None, (), Selection(fraction=0.2), 3)
    assert (len(found), found.min() >= 50, (np.diff(found) > 0).all()) == (20, True, True)
    assert len(reduced(np.arange(7), None, (), Selection(fraction=7), 3)) == 7


def test_a_fraction_leaves_validation_and_test_rows_as_they_are():
    whole, part = (prepare("t", TABLE, **KEYS, selection=Selection(fraction=count)) for count in (None, 50))
    assert rows_of(part.validation) == rows_of(whole.validation)
    assert rows_of(part.test) == rows_of(whole.test)
    assert set(rows_of(part.train)) < set(rows_of(whole.train))


def test_rare_classes_keep_their_share_of_training_rows_alone():
    whole = prepare("t", TABLE, **KEYS)
    rare = prepare("t", TABLE, **KEYS, selection=Selection(imbalance={"1": 0.25, "7": 1e-9}))
    assert whole.train.targets.bincount().tolist() == [60, 36, 24, 120]
    assert rare.train.targets.bincount().tolist() == [60, 9, 1, 120]
    assert rows_of(rare.validation) == rows_of(whole.validation)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_label_noise_replaces_an_exact_count_and_grows_with_its_share(labels, seed, one, other):
    labels = np.array(labels)
    low, high = sorted((one, other))
    some, more = (noisy(labels, 4, Selection(label_noise=share), seed) for share in (low, high))
    wrong, also = some != labels, more != labels
    assert (wrong.sum(), also.sum()) == (round(low * len(labels)), round(high * len(labels)))
    assert (more[wrong] == some[wrong]).all()
    assert ((more >= 0) & (more < 4)).all()


def test_wrong_labels_are_any_other_class_equally_often():
    drawn = np.bincount(noisy(np.full(30_000, 2), 4, Selection(label_noise=1.0), 0), minlength=4)
    # 30,000 draws with p = 1/3: standard deviation 82; five of them is one in a million.
    assert drawn[2] == 0
    assert (np.abs(drawn[[0, 1, 3]] - 10_000) < 410).all()


def test_label_noise_leaves_validation_and_test_labels_as_they_are():
    data = prepare("t", TABLE, **KEYS, selection=Selection(label_noise=0.5))
    assert sum(LABELS[rows_of(data.train)] != data.train.targets.numpy()) == 120
    assert (LABELS[rows_of(data.validation)] == data.validation.targets.numpy()).all()
    assert (LABELS[rows_of(data.test)] == data.test.targets.numpy()).all()


def test_streams_never_change():
    # New numbers here mean that every user's fraction, noise and folds have moved.
    labels = np.arange(12) % 3
    assert reduced(np.arange(12), labels, ("a", "b", "c"), Selection(fraction=5), 0).tolist() == [2, 4, 6, 8, 9]
    assert noisy(labels, 3, Selection(label_noise=0.5), 0).tolist() == [2, 0, 2, 1, 1, 2, 2, 0, 2, 0, 1, 0]
    in_fold = Selection(label_noise=0.5, fold=Fold(3, 0, 1))
    assert noisy(labels, 3, in_fold, 0).tolist() == [0, 2, 2, 2, 1, 2, 2, 2, 2, 2, 1, 0]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Selection(classes=("cat", "cow")),
            "data.classes: there is no class 'cow'; the 4 classes are cat, dog, 7, owl",
        ),
        (Selection(classes=(0, 4)), "there is no class '4'"),
        (Selection(classes=(0, "cat")), "data.classes: class cat is there twice"),
        (Selection(imbalance={"cow": 0.5}), "data.imbalance: there is no class 'cow'"),
        (Selection(fraction=1000), "data.fraction: 1000 rows are more than the 240 for training"),
        (Selection(fraction=1e-4), "data.fraction: a share of 0.0001 of 240 training rows is less than one"),
        (Selection(fraction=3), "the training part of t has no row of class"),
    ],
)
def test_a_selection_that_cannot_be_made_is_refused(selection, message):
    with pytest.raises(DataError, match=message):
        prepare("t", TABLE, **KEYS, selection=selection)


@pytest.mark.parametrize("key", [{"classes": (0, 1)}, {"imbalance": {"0": 0.5}}, {"label_noise": 0.1}])
def test_classes_are_asked_of_data_that_has_them(key):
    values = Raw(TABLE.inputs, np.arange(400.0)[:, None], (), "hash")
    with pytest.raises(DataError, match="is for data with one class a row; this data asks for regression"):
        prepare("t", values, **KEYS, selection=Selection(**key))


def test_keys_of_the_spec_reach_the_data():
    spec = Digits.model_validate(
        {"kind": "digits", "classes": [8, "3"], "imbalance": {"3": 0.5}, "fraction": 0.5, "label_noise": 0.25}
    )
    data = spec.load()
    plain = Digits.model_validate({"kind": "digits", "classes": [8, 3]}).load()
    assert (plain.classes, data.classes) == (("8", "3"), ("8", "3"))
    eights, threes = plain.train.targets.bincount().tolist()
    assert len(data.train) == round((eights + round(threes / 2)) / 2)
    assert len(data.validation) == len(plain.validation)
