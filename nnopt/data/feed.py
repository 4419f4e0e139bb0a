"""Batches of training: gathered in their order and, where asked, changed at random for every sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.data.batches import Order, Position
from nnopt.data.dataset import Samples
from nnopt.data.prefetch import Prefetch
from nnopt.data.streaming import StreamedPart
from nnopt.randomness import derive

# Inputs [n, ...] and targets [n, ...] of a batch, and a generator on their device: the changed ones. Class numbers may
# become shares of classes [n, classes].
Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(slots=True, eq=False)
class Batch:
    """What one update is computed from.

    Attributes:
        inputs: [n, *input_shape].
        targets: [n, ...], as those of a `Part`; or [n, classes] float32 shares of classes, where samples were mixed.
        rows: [n], the samples' places in the training data; None for all of it in order.
    """

    inputs: Tensor
    targets: Tensor
    rows: Tensor | None

    def __len__(self) -> int:
        return int(self.inputs.shape[0])


class Feed:
    """Gives the batches of a run; each is a function of the seed and the position alone."""

    def __init__(self, part: Samples, order: Order, seed: int, augment: Augment | None = None) -> None:
        self.part = part.for_seed(seed)
        self.order = order
        self.seed = seed
        self.augment = augment
        self._prefetch = Prefetch(self.part, order) if isinstance(self.part, StreamedPart) else None
        self._generator = torch.Generator(part.device)

    @property
    def samples(self) -> int:
        """How many samples an epoch has."""
        return self.order.samples

    @property
    def unchanging(self) -> bool:
        """Whether a row of the training data is the same whenever it is given."""
        return self.augment is None and self.part.fixed

    def take(self, position: Position, size: int) -> Batch:
        """The next batch of `size` samples, fewer at the epoch's end; moves `position` on."""
        epoch, offset = position.epoch, position.offset
        if self._prefetch is None:
            rows = self.order.take(position, size)
            pair = self.part.gather(rows, epoch)
        else:
            rows, pair = self._prefetch.take(position, size)
        return self._changed(rows, pair, epoch, offset)

    def of(self, rows: Tensor | None, position: Position | None = None) -> Batch:
        """The batch of these rows [n] (None: all), as it is at `position` (None: the very beginning)."""
        position = position or Position()
        return self._changed(rows, self.part.gather(rows, position.epoch), position.epoch, position.offset)

    def _changed(self, rows: Tensor | None, pair: tuple[Tensor, Tensor], epoch: int, offset: int) -> Batch:
        inputs, targets = pair
        if self.augment is not None:
            self._generator.manual_seed(derive(self.seed, "augment", epoch, offset))
            inputs, targets = self.augment(inputs, targets, self._generator)
        return Batch(inputs, targets, rows)
