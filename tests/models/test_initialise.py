"""Initial weights have the spread that their formula says; names in the spec are those that exist."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnopt.models.cnn import POOLS
from nnopt.models.initialise import INITIALISERS, initialise
from nnopt.models.layers import ACTIVATIONS, IMAGE_NORMS, VECTOR_NORMS
from nnopt.spec import models as specs

# A dense layer 300 -> 500 and a convolution of 20 -> 30 channels with 5x5 windows.
SIZES = {"dense": (300, 500), "convolution": (20 * 25, 30 * 25)}
VARIANCES = {
    "xavier_uniform": lambda n_in, n_out: 2 / (n_in + n_out),
    "xavier_normal": lambda n_in, n_out: 2 / (n_in + n_out),
    "kaiming_uniform": lambda n_in, n_out: 2 / n_in,
    "kaiming_normal": lambda n_in, n_out: 2 / n_in,
    "lecun_normal": lambda n_in, n_out: 1 / n_in,
    "normal": lambda n_in, n_out: 1e-4,
    "zeros": lambda n_in, n_out: 0.0,
    # torch's own: uniform within 1/sqrt(n_in), of variance a²/3.
    "default": lambda n_in, n_out: 1 / (3 * n_in),
}


def layers() -> nn.ModuleDict:
    torch.manual_seed(5)
    return nn.ModuleDict({"dense": nn.Linear(300, 500), "convolution": nn.Conv2d(20, 30, 5)})


@pytest.mark.parametrize("name", VARIANCES)
def test_the_spread_of_weights(name: str) -> None:
    model = initialise(layers(), name)
    for key, (n_in, n_out) in SIZES.items():
        weight = model.get_submodule(key).weight.detach()
        assert float(weight.std()) == pytest.approx(math.sqrt(VARIANCES[name](n_in, n_out)), rel=0.03)
        assert abs(float(weight.mean())) <= 0.01
        assert name == "default" or not model.get_submodule(key).bias.any()


@pytest.mark.parametrize(("name", "bound"), [("xavier_uniform", 6 / 800), ("kaiming_uniform", 6 / 300)])
def test_uniform_weights_fill_their_range(name: str, bound: float) -> None:
    largest = float(initialise(layers(), name).get_submodule("dense").weight.detach().abs().max())
    assert 0.99 * math.sqrt(bound) < largest <= math.sqrt(bound)


def test_orthogonal_weights_are_orthogonal() -> None:
    weight = initialise(layers(), "orthogonal").get_submodule("dense").weight.detach()
    torch.testing.assert_close(weight.T @ weight, torch.eye(300), atol=1e-5, rtol=0)


def test_norm_layers_keep_scale_one_and_shift_zero() -> None:
    model = initialise(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LayerNorm(4)), "kaiming_normal")
    for norm in list(model)[1:]:
        assert torch.equal(norm.weight, torch.ones(4))
        assert torch.equal(norm.bias, torch.zeros(4))


def test_names_in_the_spec_are_those_that_exist() -> None:
    assert set(get_args(specs.Init)) == {"default", *INITIALISERS}
    assert set(VARIANCES) | {"orthogonal"} == set(get_args(specs.Init))
    assert set(get_args(specs.Activation)) == set(ACTIVATIONS)
    assert set(get_args(specs.Norm)) == {"none", *VECTOR_NORMS} == {"none", *IMAGE_NORMS}
    assert set(get_args(specs.CnnBlock.model_fields["pool"].annotation)) == {"none", *POOLS}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("relu", [0.0, 0.0, 2.0]),
        ("leaky_relu", [-0.01, 0.0, 2.0]),
        ("gelu", [-0.5 * (1 + math.erf(-1 / math.sqrt(2))), 0.0, 1 + math.erf(2 / math.sqrt(2))]),
        ("silu", [-1 / (1 + math.e), 0.0, 2 / (1 + math.exp(-2))]),
        ("sigmoid", [1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-2))]),
        ("tanh", [math.tanh(-1), 0.0, math.tanh(2)]),
    ],
)
def test_activations_are_their_formula(name: str, values: list[float]) -> None:
    torch.testing.assert_close(ACTIVATIONS[name]()(torch.tensor([-1.0, 0.0, 2.0])), torch.tensor(values))


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_image_norms_standardise_the_right_axes(kind: str) -> None:
    images = torch.randn(6, 3, 4, 5) * 7 + 2
    axes = {"batch": (0, 2, 3), "layer": (1, 2, 3)}[kind]
    mean, variance = images.mean(axes, keepdim=True), images.var(axes, correction=0, keepdim=True)
    expected = (images - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(IMAGE_NORMS[kind](3)(images), expected, atol=1e-5, rtol=1e-4)
    vectors = F.avg_pool2d(images, (4, 5)).flatten(1)
    axis = {"batch": 0, "layer": 1}[kind]
    mean, variance = vectors.mean(axis, keepdim=True), vectors.var(axis, correction=0, keepdim=True)
    expected = (vectors - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(VECTOR_NORMS[kind](3)(vectors), expected, atol=1e-5, rtol=1e-4)
