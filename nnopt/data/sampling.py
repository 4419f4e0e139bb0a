"""Batches in which rare classes come more often than they are in the data."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.batches import Order, Position
from nnopt.randomness import derive


class BalancedOrder(Order):
    """Rows drawn with replacement: first a class, with a probability of its own, then any row of it.

    An epoch is as many draws as there are rows.
    """

    def __init__(self, seed: int, labels: Tensor, weights: Tensor, device: torch.device) -> None:
        """Of rows with class numbers `labels` [n], class c is drawn with weights[c] / Σ weights."""
        super().__init__(seed, len(labels), device)
        labels = labels.cpu()
        self._of_class = torch.argsort(labels, stable=True)
        self._sizes = torch.bincount(labels, minlength=len(weights))
        self._starts = self._sizes.cumsum(0) - self._sizes
        self._upto = (weights.double() / weights.double().sum()).cumsum(0)

    @override
    def take(self, position: Position, size: int) -> Tensor:
        return self._next(position, size)

    @override
    def _draw(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        which, where = torch.rand(2, self.samples, generator=generator, dtype=torch.float64)
        classes = torch.searchsorted(self._upto, which, right=True).clamp_(max=len(self._upto) - 1)
        places = (where * self._sizes[classes]).long()
        return self._of_class[self._starts[classes] + places]
