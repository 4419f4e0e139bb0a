"""The layers of a network as its forward pass meets them: shapes, parameters, multiply-adds.

Counted are the multiply-adds of linear, convolution and recurrent layers, for one sample: each weight of a kernel is
used once for each place of the output (for a transposed convolution, of the input; for a recurrent layer, for each
token). Nothing is counted for biases, activations, pooling and norms (which in evaluation are one multiply-add a value,
and can be folded into the layer before), nor for the products of attention (its linear layers are) and layers of kinds
that are not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nnopt.structure.network import count_nonzero, count_parameters

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class LayerAccount:
    """One layer; shapes are those of one sample, None where it takes or gives something else than a tensor.
    (Attention calls some of its layers in ways of its own: their shapes are None, and their multiply-adds 0.)

    `bits` are those of a number of its weights, None where it has no parameters. `multiply_adds_nonzero` leaves out
    weights that are 0. A layer that is called several times has the shapes of its first call and the multiply-adds of
    all.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    parameters: int
    nonzero_parameters: int
    bits: int | None
    multiply_adds: int
    multiply_adds_nonzero: int

    @property
    def sparsity(self) -> float | None:
        """The share of its parameters that are 0, None where it has none."""
        return 1 - self.nonzero_parameters / self.parameters if self.parameters else None


@dataclass
class _Calls:
    """What the forward pass showed of one layer."""

    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    places: int = 0


def count_multiply_adds(model: nn.Module, sample: Tensor) -> int:
    """Multiply-adds of one sample's forward pass through the layers that are counted; `sample` is [1, *shape].

    The model answers in evaluation mode, without gradients, and is as it was afterwards. torch's own counter would
    import its compiler, a second at every start.
    """
    calls = _watch(model, sample)
    return sum(_weights(layer) * seen.places for layer, seen in calls.items())


def account_of_layers(model: nn.Module, sample: Tensor) -> tuple[LayerAccount, ...]:
    """Every layer that has parameters of its own, or is called and has no layers within it, in the model's order.

    `sample` is [1, *shape]. A parameter that layers share is counted with each.
    """
    calls = _watch(model, sample)
    return tuple(
        _account(name, layer, calls.get(layer, _Calls()))
        for name, layer in model.named_modules()
        if any(True for _ in layer.parameters(recurse=False)) or (layer in calls and _is_unit(layer))
    )


def _is_unit(layer: nn.Module) -> bool:
    """Whether a module is a layer of its own: one whose multiply-adds are counted, or that holds no others."""
    return bool(_kernels_of(layer)) or not any(True for _ in layer.children())


def _account(name: str, layer: nn.Module, seen: _Calls) -> LayerAccount:
    kernels = _kernels_of(layer)
    nonzero = sum(int(torch.count_nonzero(kernel)) for kernel in kernels) * seen.places if seen.places else 0
    counted = layer if _is_unit(layer) else _Own(layer)
    numbers = kernels[0] if kernels else next(counted.parameters(), None)
    return LayerAccount(
        name=name,
        kind=type(layer).__name__,
        input_shape=seen.input_shape,
        output_shape=seen.output_shape,
        parameters=count_parameters(counted),
        nonzero_parameters=count_nonzero(counted),
        bits=None if numbers is None else 8 * numbers.element_size(),
        multiply_adds=_weights(layer) * seen.places,
        multiply_adds_nonzero=nonzero,
    )


class _Own(nn.Module):
    """The parameters of a module without those of the layers in it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for name, parameter in layer.named_parameters(recurse=False):
            self.register_parameter(name, parameter)


def _kernels_of(layer: nn.Module) -> list[Tensor]:
    """The weights of a linear, convolution or recurrent layer, as whole numbers where it is quantised; else none."""
    if isinstance(layer, nn.RNNBase):
        return [weight for name, weight in layer.named_parameters() if name.startswith("weight_")]
    return [layer.weight] if isinstance(layer, (nn.Linear, _ConvNd)) else []


def _weights(layer: nn.Module) -> int:
    return sum(kernel.numel() for kernel in _kernels_of(layer))


def _watch(model: nn.Module, sample: Tensor) -> dict[nn.Module, _Calls]:
    """Runs `sample` through the model and notes each layer that is called."""
    found: dict[nn.Module, _Calls] = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if isinstance(layer, nn.RNNBase) and isinstance(output, tuple):
            output = output[0]  # without what it carries on
        given = next((value for value in inputs if isinstance(value, Tensor)), None)
        if layer not in found:
            found[layer] = _Calls(_shape(given), _shape(output))
        found[layer].places += _places(layer, given, output)

    hooks = [layer.register_forward_hook(note) for layer in model.modules()]
    try:
        with answering(model):
            model(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _shape(value: object) -> tuple[int, ...] | None:
    """Of one sample."""
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else None


def _places(layer: nn.Module, given: Tensor | None, output: object) -> int:
    """How often a layer's kernel is laid on its input."""
    if not isinstance(output, Tensor) or given is None:
        return 0
    if isinstance(layer, nn.RNNBase):
        return given.numel() // layer.input_size
    if isinstance(layer, TRANSPOSED):
        return given.numel() // layer.in_channels
    if isinstance(layer, _ConvNd):
        return output.numel() // layer.out_channels
    return output.numel() // layer.out_features if isinstance(layer, nn.Linear) else 0


@contextmanager
def answering(model: nn.Module) -> Iterator[None]:
    """The model is in evaluation mode, without gradients, while the block lasts; each layer is as it was afterwards."""
    modes = {layer: layer.training for layer in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, training in modes.items():
            layer.training = training
