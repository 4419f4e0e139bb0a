"""Layers cut in two: exact at full rank, the nearest matrix below it, and only where that saves."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nnopt.structure.low_rank import can_be_cut, cut_in_two, largest_saving_rank, put_layer, rank_of_energy
from nnopt.structure.network import count_parameters

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(9, 5), (9,)),
    "no_bias": (nn.Linear(4, 7, bias=False), (4,)),
    "convolution": (nn.Conv2d(3, 8, 3), (3, 9, 7)),
    "strided": (nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 2), dilation=(2, 1), bias=False), (3, 9, 8)),
    "reflecting": (nn.Conv2d(2, 6, 3, padding=1, padding_mode="reflect"), (2, 5, 5)),
    "of_a_line": (nn.Conv1d(3, 8, 5, padding="same"), (3, 11)),
    "of_a_room": (nn.Conv3d(2, 5, 2), (2, 4, 5, 3)),
}


def weights_of(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach().flatten(1).double()


@pytest.mark.parametrize("name", LAYERS)
def test_at_full_rank_two_layers_compute_what_one_did(name: str) -> None:
    layer, shape = LAYERS[name]
    inputs = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    cut = cut_in_two(layer, min(weights_of(layer).shape))
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(cut(inputs), layer(inputs), atol=1e-5, rtol=1e-4)
    assert all(parameter.requires_grad for parameter in cut.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_below_it_none_of_that_rank_is_nearer(name: str) -> None:
    layer, shape = LAYERS[name]
    cut = cut_in_two(layer, 2)
    product = weights_of(cut[1]) @ weights_of(cut[0])
    # Eckart and Young: the distance is that of the singular values left out; numpy's are another program's.
    left_out = numpy.linalg.svd(weights_of(layer).numpy(), compute_uv=False)[2:]
    distance = torch.linalg.matrix_norm(product - weights_of(layer))
    assert float(distance) == pytest.approx(float(numpy.sqrt((left_out**2).sum())), rel=1e-5)
    assert numpy.linalg.matrix_rank(product.numpy(), tol=1e-6) == 2
    assert cut.rank == 2
    inputs = torch.randn(3, *shape)
    assert cut(inputs).shape == layer(inputs).shape


def test_both_halves_have_the_same_share_and_signs_are_settled() -> None:
    layer = LAYERS["linear"][0]
    cut = cut_in_two(layer, 3)
    norms = [weights_of(cut[0]).norm(dim=1), weights_of(cut[1]).norm(dim=0)]
    torch.testing.assert_close(*norms)
    flipped = nn.Linear(9, 5)
    flipped.load_state_dict(layer.state_dict())
    flipped.weight.data.neg_()
    other = cut_in_two(flipped, 3)
    assert torch.equal(other[1].weight, cut[1].weight), "−W has the same U, its largest entries positive"
    torch.testing.assert_close(other[0].weight, -cut[0].weight)
    columns = cut[1].weight.detach()
    assert (columns.gather(0, columns.abs().argmax(0, keepdim=True)) > 0).all()


@given(rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_the_largest_rank_that_saves(rows: int, columns: int) -> None:
    layer = nn.Linear(columns, rows)
    found = largest_saving_rank(layer)
    sizes = {rank: count_parameters(cut_in_two(layer, rank)) for rank in range(1, min(rows, columns) + 1)}
    assert [rank for rank, size in sizes.items() if size < count_parameters(layer)] == list(range(1, found + 1))


@pytest.mark.parametrize(("energy", "rank"), [(1e-9, 1), (0.6399, 1), (0.6401, 2), (0.9899, 2), (0.9901, 3)])
def test_the_rank_of_an_energy(energy: float, rank: int) -> None:
    layer = nn.Linear(5, 4, bias=False)
    left, right = (torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0] for size in (4, 5))
    layer.double().weight.data = left[:, :3] @ torch.tensor([64.0, 35.0, 1.0]).double().sqrt().diag() @ right[:3]
    assert rank_of_energy(layer, energy) == rank


def test_weights_of_0_have_a_rank_as_well() -> None:
    layer = nn.Linear(5, 4)
    nn.init.zeros_(layer.weight)
    assert rank_of_energy(layer, 1.0) == 1
    assert torch.equal(cut_in_two(layer, 1)(torch.ones(2, 5)), layer.bias.expand(2, 4))


def test_convolutions_of_groups_are_no_one_matrix() -> None:
    assert can_be_cut(nn.Conv2d(4, 4, 3))
    assert not can_be_cut(nn.Conv2d(4, 4, 3, groups=2))
    assert not can_be_cut(nn.BatchNorm2d(4))


def test_a_layer_takes_the_place_of_another() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    cut = cut_in_two(model[1][0], 1)
    assert put_layer(model, "1.0", cut) is model
    assert [name for name, _ in model.named_parameters()][2:] == ["1.0.0.weight", "1.0.1.weight", "1.0.1.bias"]
    assert put_layer(model[0], "", cut) is cut
