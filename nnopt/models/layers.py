"""Activations and norms by name, and the stack of dense layers that several models end in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from nnopt.models.connections import Dense, Residual

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
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: str,
    dropout: float,
    norm: str,
    connections: str = "plain",
) -> list[nn.Module]:
    """Dense layers [n, inputs] -> [n, outputs]: after all but the last come norm, activation and dropout.

    `connections` past the hidden layers: plain for none; residual adds a layer's inputs to what comes of them where
    both have one width; dense lays them beside it, so that every layer sees the outputs of all before it.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        one = _hidden_layer(inputs, width, activation, dropout, norm)
        if connections == "dense":
            layers.append(Dense(nn.Sequential(*one)))
            inputs += width
            continue
        # The first layer's inputs are the data: only between hidden layers is a layer passed by.
        passed_by = connections == "residual" and bool(layers) and inputs == width
        layers += [Residual(nn.Sequential(*one))] if passed_by else one
        inputs = width
    return [*layers, nn.Linear(inputs, outputs)]


def _hidden_layer(inputs: int, width: int, activation: str, dropout: float, norm: str) -> list[nn.Module]:
    # A batch norm takes the mean away, and a bias with it.
    layers: list[nn.Module] = [nn.Linear(inputs, width, bias=norm != "batch")]
    if norm != "none":
        layers.append(VECTOR_NORMS[norm](width))
    layers.append(ACTIVATIONS[activation]())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return layers


def image_norm(norm: str, channels: int) -> list[nn.Module]:
    """The norm layer of images of `channels` channels, none for "none"."""
    return [] if norm == "none" else [IMAGE_NORMS[norm](channels)]


def smallest_batch(model: nn.Module) -> int:
    """The fewest samples that `model` can train on at once: 2 with a batch norm of vectors, else 1."""
    return 2 if any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules()) else 1
