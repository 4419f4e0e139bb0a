"""What every tally has: the loss, and sums over chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from nnopt.losses.loss import Loss


class Tally(ABC):
    """Sums over an evaluation. `names` are the columns of the result, after `loss`."""

    def __init__(self, names: Sequence[str], loss: Loss, device: torch.device | str) -> None:
        self.names = tuple(dict.fromkeys(("loss", *names)))
        self.samples = 0
        self._loss = loss
        # Metal has no 64-bit floats.
        self._dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=self._dtype, device=device)

    @torch.no_grad()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count in a chunk of outputs of the model and targets, shaped as the loss takes them."""
        self.samples += len(targets)
        self._loss_sum += self._loss(outputs, targets).to(self._dtype) * len(targets)
        self._count(outputs, targets)

    def result(self) -> dict[str, float]:
        """Each of `names` over all samples so far; waits for the device.

        Raises:
            ValueError: no samples.
        """
        if self.samples == 0:
            raise ValueError("an evaluation needs at least one sample")
        values = {"loss": float(self._loss_sum) / self.samples, **self._values()}
        return {name: values[name] for name in self.names}

    @abstractmethod
    def _count(self, outputs: Tensor, targets: Tensor) -> None: ...

    @abstractmethod
    def _values(self) -> dict[str, float]: ...
