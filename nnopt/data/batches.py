"""The order of training samples: a function of (seed, epoch, offset), so that a resume skips over nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.randomness import derive


@dataclass
class Position:
    """How far a run has come through its data: passes finished, samples taken of the present one."""

    epoch: int = 0
    offset: int = 0


class Order:
    """A fresh permutation of the training samples each epoch, drawn on the CPU and kept on the device."""

    def __init__(self, seed: int, samples: int, device: torch.device) -> None:
        self.seed = seed
        self.samples = samples
        self.device = device
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self._size = 0
        self._batches: tuple[Tensor, ...] = ()  # the epoch cut into batches of the present size

    def take(self, position: Position, size: int) -> Tensor | None:
        """Indices of the next batch [size], fewer at the epoch's end; moves `position` on.

        None stands for all samples at once, whose order does not matter.
        """
        if size >= self.samples and position.offset == 0:
            position.epoch += 1
            return None
        return self._next(position, size)

    def _bring(self, order: Tensor) -> Tensor:
        """To the device, where an accelerator is concerned without waiting for it."""
        if self.device.type == "cuda":
            return order.pin_memory().to(self.device, non_blocking=True)
        return order.to(self.device)

    def _draw(self, epoch: int) -> Tensor:
        """The order of an epoch, on the CPU: [samples] int64."""
        generator = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        return torch.randperm(self.samples, generator=generator)

    def _next(self, position: Position, size: int) -> Tensor:
        if position.epoch != self._epoch:
            self._order = self._bring(self._draw(position.epoch))
            self._epoch, self._size = position.epoch, 0
        if size != self._size:
            self._batches, self._size = torch.split(self._order, size), size
        if position.offset % size == 0:
            rows = self._batches[position.offset // size]
        else:  # the batch grew within this epoch
            rows = self._order[position.offset : position.offset + size]
        position.offset += rows.shape[0]
        if position.offset >= self.samples:
            position.epoch, position.offset = position.epoch + 1, 0
        return rows
