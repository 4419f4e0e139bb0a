"""Connections past a layer: its inputs added to its outputs, or laid beside them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """after(shortcut(x) + inner(x)); He et al. 2015, arXiv:1512.03385.

    Args:
        inner: what the inputs go through.
        shortcut: what brings the inputs into the shape of its outputs; they are left as they are without one.
        after: the activation after the sum, where there is one.
    """

    def __init__(self, inner: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut = shortcut
        self.after = after

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [n, *shape] that `inner` takes; its outputs' shape."""
        beside = inputs if self.shortcut is None else self.shortcut(inputs)
        total: Tensor = beside + self.inner(inputs)
        return total if self.after is None else cast(Tensor, self.after(total))


class Dense(nn.Module):
    """Inputs and outputs of `inner` side by side; Huang et al. 2016, arXiv:1608.06993."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        """[n, k] -> [n, k + outputs of inner]."""
        return torch.cat([inputs, self.inner(inputs)], dim=1)
