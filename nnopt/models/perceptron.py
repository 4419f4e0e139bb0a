"""Linear models and multi-layer perceptrons, on inputs of any shape."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from nnopt.models.layers import ACTIVATIONS, dense_layers
from nnopt.models.shapes import features


def perceptron(
    input_shape: tuple[int, ...],
    outputs: int,
    hidden: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
    norm: str = "none",
    output_activation: str = "none",
    connections: str = "plain",
) -> nn.Sequential:
    """Flattened inputs [n, *input_shape], dense layers of widths `hidden`, outputs [n, outputs]."""
    layers = dense_layers(features(input_shape), hidden, outputs, activation, dropout, norm, connections)
    last = [] if output_activation == "none" else [ACTIVATIONS[output_activation]()]
    return nn.Sequential(nn.Flatten(), *layers, *last)
