"""A network whose chosen layers train with the rounding in sight, or a copy of it whose chosen layers are int8."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping

import torch
from torch import nn

from nnopt.errors import UsageError
from nnopt.structure.layers import layers_within
from nnopt.structure.quantise.kernels import has_product
from nnopt.structure.quantise.layers import QUANTISED, become_quantised, become_rounded, become_unfilled


def check_kernels(layers: Mapping[str, nn.Module], dynamic: bool, device: torch.device, key: str) -> None:
    """Raises UsageError where one of `layers` cannot be int8, or `device` has no product of whole numbers for it.

    `key` is where the layers were chosen in a spec, for the message.
    """
    for name, layer in layers.items():
        if type(layer) not in QUANTISED:
            kinds = ", ".join(kind.__name__ for kind in QUANTISED)
            raise UsageError(
                f"{key}: layer {name!r} is a {type(layer).__name__}, and only {kinds} have an int8 form: "
                f"add it to {key}.leave_out"
            )
    if not dynamic:
        return
    for name, layer in layers.items():
        if isinstance(layer, nn.Linear) and not has_product(device, layer.in_features, layer.out_features):
            raise UsageError(
                f"{key}: {device} has no int8 product for layer {name!r} of {layer.in_features} inputs and "
                f"{layer.out_features} outputs: add it to {key}.leave_out, or keep to weight-only"
            )


def show_rounding(network: nn.Module, names: Collection[str], dynamic: bool) -> None:
    """From now on `network` computes with the layers of `names` rounded, their inputs too where `dynamic`."""
    for layer in layers_within(network, names).values():
        become_rounded(layer, dynamic)


def quantised_copy(network: nn.Module, names: Collection[str], dynamic: bool) -> nn.Module:
    """A copy of `network` that is not to be trained, with int8 layers in the place of those of `names`.

    A layer that was cut in two since its name was chosen has parts with names below its own, and they are meant.
    """
    result = copy.deepcopy(network).requires_grad_(False)
    for layer in layers_within(result, names).values():
        become_quantised(layer, dynamic)
    return result.eval()


def rounding_of(network: nn.Module) -> dict[str, bool]:
    """The int8 layers of `network` by name, and whether their inputs are rounded: what `reform_quantised` needs."""
    int8 = set(QUANTISED.values())
    return {name: bool(layer.dynamic) for name, layer in network.named_modules() if type(layer) in int8}


def reform_quantised(network: nn.Module, dynamic: Mapping[str, bool]) -> None:
    """Makes the layers named in `dynamic` int8; their weights are to be loaded.

    Raises:
        AttributeError: a layer is not there.
        KeyError: a layer is of a kind that has no int8 form.
    """
    for name, rounds_inputs in dynamic.items():
        become_unfilled(network.get_submodule(name), rounds_inputs)
