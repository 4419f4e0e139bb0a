from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nnopt.data.dataset import Dataset
from nnopt.data.prepare import prepare
from nnopt.data.raw import Raw, digest
from nnopt.data.splits import split_rows
from nnopt.errors import DataError

KEYS = {"validation": 20, "test": 30, "split_seed": 3, "normalise": "standard"}
RANDOM = np.random.default_rng(0)
TABLE = Raw(RANDOM.normal(5, 3, (120, 4)), np.arange(120) % 3, ("a", "b", "c"), "hash")
VALUES = Raw(RANDOM.normal(5, 3, (120, 4)), RANDOM.normal(100, 25, (120, 2)), (), "hash")


def same(one: Dataset, other: Dataset, part: str) -> bool:
    mine, theirs = getattr(one, part), getattr(other, part)
    return torch.equal(mine.inputs, theirs.inputs) and torch.equal(mine.targets, theirs.targets)


def test_a_classification_set():
    data = prepare("table", TABLE, **KEYS)
    assert (len(data.train), len(data.validation), len(data.test)) == (70, 20, 30)
    assert (data.name, data.task, data.classes, data.content_hash) == (
        "table",
        "classification",
        ("a", "b", "c"),
        "hash",
    )
    assert (data.input_shape, data.outputs, data.describe_inputs()) == ((4,), 3, "4 features")
    assert (data.train.inputs.dtype, data.train.targets.dtype) == (torch.float32, torch.int64)
    assert data.train.inputs.mean(0).abs().max() < 1e-6
    assert (data.target_mean.tolist(), data.target_scale.tolist()) == ([0.0], [1.0])


def test_rows_keep_their_targets():
    plain = prepare("table", TABLE, **{**KEYS, "normalise": "none"})
    for part in (plain.train, plain.validation, plain.test):
        for row, target in zip(part.inputs, part.targets, strict=True):
            place = int(np.abs(TABLE.inputs - row.numpy()).sum(1).argmin())
            assert TABLE.targets[place] == target


def test_only_training_rows_are_used_to_fit():
    rows = split_rows(120, None, 20, 30, 3)
    inputs, targets = VALUES.inputs.copy(), VALUES.targets.copy()
    for part in (rows.validation, rows.test):
        inputs[part] += 1000
        targets[part] *= 50
    usual = prepare("v", VALUES, **KEYS)
    moved = prepare("v", dataclasses.replace(VALUES, inputs=inputs, targets=targets), **KEYS)
    assert same(usual, moved, "train")
    assert not same(usual, moved, "validation")
    assert not same(usual, moved, "test")


def test_real_valued_targets_are_standardised_and_can_be_brought_back():
    data = prepare("v", VALUES, **KEYS)
    rows = split_rows(120, None, 20, 30, 3)
    assert (data.task, data.classes, data.outputs) == ("regression", (), 2)
    assert data.train.targets.dtype == torch.float32
    assert torch.allclose(data.train.targets.mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(data.train.targets.std(0, correction=0), torch.ones(2), atol=1e-6)
    back = data.test.targets * data.target_scale + data.target_mean
    assert np.allclose(back, VALUES.targets[rows.test], rtol=1e-5)


def test_an_official_test_part_is_kept_whole_and_in_order():
    images = RANDOM.integers(0, 256, (50, 1, 2, 2), np.uint8)
    raw = Raw(images, np.arange(50) % 2, ("x", "y"), "h", 255.0, images[:7], np.array([1, 1, 0, 1, 0, 0, 1]))
    data = prepare("images", raw, validation=0.2, test=None, split_seed=0, normalise="unit")
    assert (len(data.train), len(data.validation)) == (40, 10)
    assert data.test.targets.tolist() == [1, 1, 0, 1, 0, 0, 1]
    assert torch.equal(data.test.inputs, torch.from_numpy(images[:7].astype(np.float32)) / 255)
    assert data.describe_inputs() == "1x2x2 images"


def test_a_class_that_has_no_training_row_is_named():
    raw = dataclasses.replace(TABLE, classes=("a", "b", "c", "rare"))
    with pytest.raises(DataError, match="training part of table has no row of class rare"):
        prepare("table", raw, **KEYS)


def test_moving_to_a_device_moves_every_tensor():
    data = prepare("v", VALUES, **KEYS).to("meta")
    parts = [tensor for part in (data.train, data.validation, data.test) for tensor in (part.inputs, part.targets)]
    assert {tensor.device.type for tensor in [*parts, data.target_mean, data.target_scale]} == {"meta"}


def test_one_feature_is_written_in_the_singular():
    raw = dataclasses.replace(TABLE, inputs=TABLE.inputs[:, :1])
    assert prepare("one", raw, **KEYS).describe_inputs() == "1 feature"


def test_a_digest_is_of_the_elements_in_order_wherever_they_lie():
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert digest(values) == digest(values.tobytes()) == digest(np.asfortranarray(values))
    assert digest(values) != digest(values[::-1])
