from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from running import CACHE, fit, plan_of, rows_of

from nnopt.data.cross_validation import fold_rows
from nnopt.data.fold import Fold
from nnopt.data.raw import Raw
from nnopt.data.splits import split_rows
from nnopt.errors import DataError
from nnopt.spec.data.embedded import Diabetes, Digits
from nnopt.spec.identity import settings_hash

pytestmark = pytest.mark.usefixtures("undrawn")

SEEDS = st.integers(0, 2**32 - 1)


def table(labels: np.ndarray, **keys: Any) -> Raw:
    return Raw(np.zeros((len(labels), 1)), labels, tuple(map(str, range(labels.max() + 1))), "hash", **keys)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(st.integers(1, 30), min_size=2, max_size=5), SEEDS, st.integers(0, 3), st.booleans())
def test_folds_are_disjoint_complete_and_equal(data, sizes, seed, block, stratified):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(labels)
    test = data.draw(st.none() | st.integers(1, max(1, n - 3)))
    rest = n - (test or 0)
    if rest < 2:
        return
    count = data.draw(st.integers(2, min(rest, 12)))
    given_labels = labels if stratified else None
    folds = [fold_rows(table(labels), given_labels, Fold(count, block, k), test, seed) for k in range(count)]
    held = np.concatenate([rows.validation for rows in folds])
    assert sorted(np.concatenate([held, folds[0].test])) == list(range(n))
    for rows in folds:
        assert (rows.test == folds[0].test).all()
        assert sorted(np.concatenate([rows.train, rows.validation, rows.test])) == list(range(n))
        assert all((np.diff(part) > 0).all() for part in (rows.train, rows.validation, rows.test))
    lengths = [len(rows.validation) for rows in folds]
    assert max(lengths) - min(lengths) <= 1
    if stratified:
        of_class = np.array([np.bincount(labels[rows.validation], minlength=len(sizes)) for rows in folds])
        assert (of_class.max(0) - of_class.min(0) <= 1).all()


def test_test_rows_are_those_of_a_split_without_folds():
    labels = np.arange(120) % 3
    plain = split_rows(120, labels, 0.2, 0.25, 7)
    assert (fold_rows(table(labels), labels, Fold(4, 2, 1), 0.25, 7).test == plain.test).all()


def test_each_block_of_seeds_has_another_partition():
    labels = np.arange(100) % 2
    first, other = (fold_rows(table(labels), labels, Fold(5, block, 0), None, 0).validation for block in (0, 1))
    assert (first != other).any()
    assert [Fold.of(5, seed) for seed in (0, 4, 5, 12)] == [Fold(5, 0, 0), Fold(5, 0, 4), Fold(5, 1, 0), Fold(5, 2, 2)]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=6, max_size=20), st.integers(2, 6), SEEDS)
def test_groups_stay_whole(sizes, count, seed):
    groups = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    raw = table(np.arange(len(groups)) % 2, groups=groups)
    folds = [fold_rows(raw, None, Fold(count, 0, k), None, seed) for k in range(count)]
    assert sorted(np.concatenate([rows.validation for rows in folds])) == list(range(len(groups)))
    for rows in folds:
        assert not set(groups[rows.validation]) & set(groups[rows.train])
    lengths = [len(rows.validation) for rows in folds]
    assert max(lengths) - min(lengths) <= max(sizes)


@pytest.mark.parametrize(
    ("keys", "count", "message"),
    [
        ({}, 31, "data.folds: 31 folds of 30 rows leave some empty"),
        ({"groups": np.arange(30) // 10}, 4, "data.folds: 4 folds of 3 groups leave some empty"),
        ({"times": np.arange(30.0)}, 3, "data.folds: folds of a split by time would train on what comes after"),
    ],
)
def test_folds_that_cannot_be_made_are_refused(keys, count, message):
    with pytest.raises(DataError, match=message):
        fold_rows(table(np.arange(30) % 2, **keys), None, Fold(count, 0, 0), None, 0)


def test_the_run_of_a_seed_has_its_fold_and_all_share_one_hash():
    spec = Digits(kind="digits", folds=3)
    parts = [spec.for_seed(seed).load() for seed in range(3)]
    assert [len(data.validation) for data in parts] == [480, 479, 479]
    assert len({data.content_hash for data in parts}) == 1
    inputs = torch.cat([data.validation.inputs for data in parts])
    assert len(inputs.unique(dim=0)) == len(
        torch.cat([parts[0].train.inputs, parts[0].validation.inputs]).unique(dim=0)
    )
    assert torch.equal(parts[0].test.inputs, parts[2].test.inputs)
    assert torch.equal(spec.load().validation.inputs, parts[0].validation.inputs)
    assert [len(Diabetes(kind="diabetes", folds=2).for_seed(seed).load().validation) for seed in (0, 1)] == [177, 177]


def test_runs_train_on_their_folds_whatever_was_trained_before(tmp_path: Path):
    changes: dict[str, Any] = {"data": {"kind": "wine", "folds": 3}, "seeds": [0, 1, 4], "strategy": {"batch_size": 16}}
    records = fit(tmp_path, changes)
    assert {record.spec_hash for record in records} == {settings_hash(plan_of(tmp_path, changes).runs[0].settings)}
    rows = [record.summary["data"]["rows"] for record in records]
    assert rows == [{"train": 94, "validation": 48, "test": 36}, *[{"train": 95, "validation": 47, "test": 36}] * 2]
    curves = [rows_of(record.folder / "metrics.csv") for record in records]
    # Two runs of one seed are the same bits, but for the fold they would differ in nothing.
    alone = fit(_below(tmp_path, "alone"), {**changes, "seeds": [4]})
    assert rows_of(alone[0].folder / "metrics.csv") == curves[2]
    assert CACHE.key(Digits(kind="digits", folds=3).for_seed(0), torch.device("cpu")) != CACHE.key(
        Digits(kind="digits", folds=3).for_seed(3), torch.device("cpu")
    )


def _below(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name
