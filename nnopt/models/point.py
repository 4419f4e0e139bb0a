"""A place in space: nothing but the numbers that are to be found."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Point(nn.Module):
    """Answers every input with its own coordinates.

    `place` [d] is the only parameter.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.place = nn.Parameter(start.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [n, ...] to [n, d]."""
        return self.place.expand(len(inputs), -1)


def drawn_point(dimensions: int, spread: float) -> Point:
    """A point whose coordinates are drawn evenly between -spread and spread, from torch's default generator."""
    return Point((2 * torch.rand(dimensions) - 1) * spread)
