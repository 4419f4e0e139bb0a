"""Activations and norms by name, and the stack of dense layers that several models end in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.01),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}

# Number of features or channels -> layer. A group norm with one group is the layer norm of images.
VECTOR_NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
IMAGE_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": partial(nn.GroupNorm, 1),
}


def dense_layers(
    inputs: int, hidden: Sequence[int], outputs: int, activation: str, dropout: float, norm: str
) -> list[nn.Module]:
    """Dense layers [n, inputs] -> [n, outputs]: after all but the last come norm, activation and dropout."""
    layers: list[nn.Module] = []
    for width in hidden:
        # A batch norm takes the mean away, and a bias with it.
        layers.append(nn.Linear(inputs, width, bias=norm != "batch"))
        if norm != "none":
            layers.append(VECTOR_NORMS[norm](width))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = width
    return [*layers, nn.Linear(inputs, outputs)]


def smallest_batch(model: nn.Module) -> int:
    """The fewest samples that `model` can train on at once: 2 with a batch norm of vectors, else 1."""
    return 2 if any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules()) else 1
