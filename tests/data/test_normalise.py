from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nnopt.data.normalise import FITS, fit_none, fit_standard, fit_unit

TABLES = arrays.arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(1, 5)), elements=st.floats(-1e4, 1e4))


@settings(deadline=None, max_examples=50)
@given(TABLES)
def test_a_table_is_scaled_as_scikit_learn_does(values):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    # scikit-learn takes a spread near the rounding error for a constant column: stay clear of that edge.
    spread = values.max(0) - values.min(0)
    values[:, spread < 1e-3] = 1.0
    for fit, peer in (
        (fit_standard, preprocessing.StandardScaler()),
        (fit_unit, preprocessing.MinMaxScaler()),
    ):
        expected = peer.fit_transform(values)
        assert np.allclose(fit(values).apply(values), expected, rtol=1e-5, atol=1e-5)


def test_images_are_scaled_by_channel():
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 4, 4), np.uint8)  # more than one chunk
    images[:, 1] //= 4
    scaled = fit_standard(images).apply(images)
    for channel in range(3):
        plane = images[:, channel].astype(np.float64)
        expected = (plane - plane.mean()) / plane.std()
        assert np.allclose(scaled[:, channel], expected, atol=1e-5)


def test_bytes_become_shares_of_the_largest_value():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
    assert fit_unit(images, 255.0).apply(images).flatten().tolist() == [0.0, pytest.approx(0.2), 1.0]
    digits = np.array([0, 4, 8], np.uint8).reshape(3, 1, 1, 1)  # the bound counts, not the largest value seen
    assert fit_unit(digits, 16.0).apply(digits).flatten().tolist() == [0.0, 0.25, 0.5]


def test_none_keeps_the_values():
    images = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)
    assert fit_none(images, 255.0).apply(images).flatten().tolist() == list(range(8))


@pytest.mark.parametrize("name", ["unit", "standard"])
def test_a_column_that_never_changes_becomes_zero(name):
    values = np.array([[3.0, 1.0], [3.0, 2.0]])
    assert FITS[name](values, None).apply(values)[:, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", list(FITS))
def test_scaling_leaves_its_input_alone_and_gives_float32(name):
    values = np.array([[1.0, 5.0], [2.0, 9.0]])
    before = values.copy()
    scaled = FITS[name](values, None).apply(values)
    assert scaled.dtype == torch.float32
    scaled.zero_()
    assert (values == before).all()


def test_large_offsets_do_not_spoil_the_deviation():
    # E[x^2] - E[x]^2 would lose all digits here.
    values = 1e8 + np.random.default_rng(1).normal(size=(5000, 1))
    assert fit_standard(values).scale[0] == pytest.approx(values.std(), rel=1e-9)


@pytest.mark.parametrize("value", [0.1, 123.456, -1 / 3])
def test_a_column_of_one_fraction_is_constant_whatever_its_mean_is_rounded_to(value):
    fitted = fit_standard(np.full((1000, 1), value))
    assert fitted.scale == 1.0
    assert fitted.apply(np.array([[value + 1.0]])).item() == pytest.approx(1.0)
