"""The shape of a network that is not what its model says any more: written down, and built again from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from nnopt.errors import CheckpointError
from nnopt.structure.low_rank import CutLayer, empty_cut, put_layer
from nnopt.structure.quantise.conversion import reform_quantised, rounding_of


def record_of(network: nn.Module) -> dict[str, Any]:
    """What `reform` needs to give a freshly built model the shape of `network`: plain values."""
    return {
        "shapes": {name: list(tensor.shape) for name, tensor in network.state_dict().items()},
        "cut": [name for name, layer in network.named_modules() if isinstance(layer, CutLayer)],
        "int8": rounding_of(network),
    }


def reform(model: nn.Module, record: dict[str, Any]) -> nn.Module:
    """A network of the shape that `record_of` wrote down, made from a freshly built `model`, which is used up.

    Its weights are to be loaded with `load_state_dict`.

    Raises:
        CheckpointError: the record is not of this model.
    """
    shapes = {name: tuple(shape) for name, shape in record["shapes"].items()}
    try:
        for name in record["cut"]:
            rank = shapes[_join(name, "0.weight")][0]
            model = put_layer(model, name, empty_cut(model.get_submodule(name), rank))
        for name, layer in model.named_modules():
            resize(layer, {key: shapes[_join(name, key)] for key in dict(_tensors(layer))})
        reform_quantised(model, record["int8"])
    except (KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"the recorded network is not of this model (at {error})") from error
    if record_of(model) != record:
        raise CheckpointError("the recorded network is not of this model")
    return model


def resize(layer: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    """Gives the tensors of `layer` itself, by name, new shapes; where the shape is another, the values are 0."""
    for name, tensor in list(_tensors(layer)):
        if tuple(tensor.shape) != shapes[name]:
            replace(layer, name, tensor.new_zeros(shapes[name]))
    note_sizes(layer)


def replace(layer: nn.Module, name: str, values: Tensor) -> None:
    """Puts a tensor of another shape in the place of a parameter or buffer of `layer`."""
    old = getattr(layer, name)
    is_parameter = isinstance(old, nn.Parameter)
    setattr(layer, name, nn.Parameter(values, old.requires_grad) if is_parameter else values)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of each channel by itself."""
    return isinstance(layer, _ConvNd) and layer.groups == layer.in_channels == layer.out_channels > 1


def note_sizes(layer: nn.Module) -> None:
    """Brings the sizes that a layer knows of itself in line with its tensors."""
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _ConvNd):
        depthwise = is_depthwise(layer)
        layer.out_channels = layer.weight.shape[0]
        if depthwise:
            layer.groups = layer.out_channels
        layer.in_channels = layer.weight.shape[1] * layer.groups
    elif isinstance(layer, _BatchNorm) and layer.running_mean is not None:
        layer.num_features = len(layer.running_mean)
    elif isinstance(layer, nn.LayerNorm) and layer.weight is not None:
        layer.normalized_shape = tuple(layer.weight.shape)
    elif isinstance(layer, nn.GroupNorm) and layer.weight is not None:
        layer.num_channels = len(layer.weight)


def count_parameters(network: nn.Module) -> int:
    """Numbers in the network's parameters; of a quantised layer those of its weights, not the scales."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_nonzero(network: nn.Module) -> int:
    """Those that are not 0."""
    with torch.no_grad():
        return sum(int(torch.count_nonzero(parameter)) for parameter in network.parameters())


def _tensors(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """The tensors in the state of `layer` itself, not of layers within it."""
    own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return [(name, tensor) for name, tensor in own if name not in layer._non_persistent_buffers_set]


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Gives `model` these tensors by name.

    Beside its tensors a state_dict of torch says of which version each module is, which no checkpoint keeps; modules
    that ask are told their present one.

    Raises:
        RuntimeError: names or shapes are others.
    """
    told = model.state_dict()
    told.clear()
    told.update(weights)
    model.load_state_dict(told)
