"""A network's shape written down and built again; layers by pattern."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nnopt.errors import CheckpointError, UsageError
from nnopt.models.cnn import Block, cnn
from nnopt.structure.channels import find_channels, take_out
from nnopt.structure.layers import chosen_layers, layers_within, weight_layers
from nnopt.structure.low_rank import cut_in_two, put_layer
from nnopt.structure.network import count_nonzero, count_parameters, record_of, reform


def fresh(norm: str = "batch") -> nn.Sequential:
    return cnn((1, 8, 8), 10, [Block(4, norm=norm), Block(6, pool="max", norm=norm)], (12,))


def changed(norm: str) -> nn.Module:
    """Cut, and of what is left channels taken out."""
    model: nn.Module = fresh(norm)
    for name, rank in (("3", 3), ("8", 4)):
        model = put_layer(model, name, cut_in_two(model.get_submodule(name), rank))
    groups = find_channels(model, torch.randn(2, 1, 8, 8)).groups
    take_out(model, [(group, [0]) for group in groups])
    return model


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_network_of_another_shape_is_built_again(norm: str) -> None:
    network = changed(norm)
    network[0].weight.requires_grad_(requires_grad=False)
    record, model = record_of(network), fresh(norm)
    model[0].weight.requires_grad_(requires_grad=False)
    again = reform(model, record)
    assert record_of(again) == record
    assert repr(again) == repr(network)
    again.load_state_dict(network.state_dict())
    inputs = torch.randn(5, 1, 8, 8)
    assert torch.equal(again.eval()(inputs), network.eval()(inputs))
    assert [parameter.requires_grad for parameter in again.parameters()] == [
        parameter.requires_grad for parameter in network.parameters()
    ]


def test_a_record_is_plain_and_that_of_an_unchanged_model_changes_nothing() -> None:
    model = fresh()
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    record = record_of(model)
    assert record["shapes"]["1.num_batches_tracked"] == []
    assert record["shapes"]["3.weight"] == [6, 4, 3, 3]
    assert record["cut"] == []
    assert reform(model, record) is model
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())


def _less(record: dict[str, Any]) -> None:
    del record["shapes"]["3.weight"]


def _more(record: dict[str, Any]) -> None:
    record["shapes"]["11.weight"] = [2, 2]


def _cut_of_nothing(record: dict[str, Any]) -> None:
    record["cut"] = ["11"]
    record["shapes"]["11.0.weight"] = [2, 2]


def _cut_of_a_norm(record: dict[str, Any]) -> None:
    record["cut"] = ["1"]
    record["shapes"]["1.0.weight"] = [2, 2]


@pytest.mark.parametrize("spoil", [_less, _more, _cut_of_nothing, _cut_of_a_norm])
def test_a_record_of_another_model_is_refused(spoil: Callable[[dict[str, Any]], None]) -> None:
    record = copy.deepcopy(record_of(fresh()))
    spoil(record)
    with pytest.raises(CheckpointError, match="not of this model"):
        reform(fresh(), record)


def test_numbers_are_counted() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    nn.init.ones_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    assert count_parameters(model) == 3 * 4 + 4 + 4 + 4
    assert count_nonzero(model) == 3 * 4 + 4, "weights and the norm's scale: its shift begins at 0"


def test_layers_are_chosen_by_pattern() -> None:
    model = fresh()
    assert list(weight_layers(model)) == ["0", "3", "8", "10"]
    assert list(chosen_layers(model, ["*"], [], "structure.prune")) == ["0", "3", "8", "10"]
    assert list(chosen_layers(model, ["1*", "[03]"], ["0"], "structure.prune")) == ["3", "10"]
    put_layer(model, "3", cut_in_two(model[3], 2))
    assert list(layers_within(model, ["3", "10"])) == ["3.0", "3.1", "10"]
    assert list(layers_within(model[0], [""])) == [""]


@pytest.mark.parametrize(
    ("layers", "leave_out", "told"),
    [
        (["*", "conv*"], [], "structure.prune.layers: 'conv*' matches no linear or convolution layer; there are '0', "),
        (["*"], ["1"], "structure.prune.leave_out: '1' matches no linear or convolution layer; there are '0', '3', "),
        (["3", "0"], ["[0-9]"], "structure.prune: leave_out leaves no layer that layers names; there are '0', '3'"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(layers: list[str], leave_out: list[str], told: str) -> None:
    with pytest.raises(UsageError) as error:
        chosen_layers(fresh(), layers, leave_out, "structure.prune")
    assert str(error.value).startswith(told)


def test_a_model_without_layers_is_refused_and_many_layers_are_not_all_named() -> None:
    with pytest.raises(UsageError, match="has no linear or convolution layer"):
        chosen_layers(nn.Sequential(nn.ReLU()), ["*"], [], "structure.prune")
    with pytest.raises(UsageError, match=r"'19' and 5 more$"):
        chosen_layers(nn.Sequential(*(nn.Linear(1, 1) for _ in range(25))), ["x"], [], "structure.prune")
