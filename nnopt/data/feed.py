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
from nnopt.stages import stage

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
        samples: of the whole batch, of which these are a share where several processes have one each.
    """

    inputs: Tensor
    targets: Tensor
    rows: Tensor | None
    samples: int

    def __len__(self) -> int:
        return int(self.inputs.shape[0])


class Feed:
    """Gives the batches of a run, or of each its share; they are a function of the seed and the position alone."""

    def __init__(
        self,
        part: Samples,
        order: Order,
        seed: int,
        augment: Augment | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.part = part.for_seed(seed)
        self.order = order
        self.seed = seed
        self.augment = augment
        self.share = share  # this process's number, and how many there are: each takes its part of every batch
        self._prefetch = Prefetch(self.part, order) if isinstance(self.part, StreamedPart) else None
        self.generator = torch.Generator(part.device)  # of the changes

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
        if self.share[1] > 1 and self.augment is None and self._prefetch is None:
            return self._gathered_share(self.order.take(position, size), epoch)
        rows, pair = self.fetch(position, size)
        self.draw_anew(epoch, offset)
        return self._own_share(self.changed(rows, pair))

    def _gathered_share(self, rows: Tensor | None, epoch: int) -> Batch:
        """This process's share of the batch of these rows (None: all), gathered alone."""
        number, count = self.share
        with stage("gathering"):
            rows = torch.arange(self.samples, device=self.part.device) if rows is None else rows
            own = rows.tensor_split(count)[number]
            return Batch(*self.part.gather(own, epoch), own, len(rows))

    def _own_share(self, batch: Batch) -> Batch:
        """This process's share of a batch that was changed whole: changes are drawn, and samples mixed, over all."""
        number, count = self.share
        if count == 1:
            return batch
        rows = torch.arange(batch.samples, device=batch.inputs.device) if batch.rows is None else batch.rows
        inputs, targets, own = (tensor.tensor_split(count)[number] for tensor in (batch.inputs, batch.targets, rows))
        return Batch(inputs, targets, own, batch.samples)

    def fetch(self, position: Position, size: int) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        """Rows, inputs and targets of the next batch as they are in the data; moves `position` on."""
        if self._prefetch is not None:
            return self._prefetch.take(position, size)
        epoch = position.epoch
        with stage("gathering"):
            rows = self.order.take(position, size)
            return rows, self.part.gather(rows, epoch)

    def of(self, rows: Tensor | None, position: Position | None = None) -> Batch:
        """The batch of these rows [n] (None: all), as it is at `position` (None: the very beginning)."""
        position = position or Position()
        self.draw_anew(position.epoch, position.offset)
        return self._own_share(self.changed(rows, self.part.gather(rows, position.epoch)))

    @property
    def gathers_anywhere(self) -> bool:
        """Whether rows lie in memory and are the same in every epoch: `part.gather` alone gives them."""
        return self._prefetch is None and self.part.fixed

    def draw_anew(self, epoch: int, offset: int) -> None:
        """Sets what `changed` draws from to where it is for the batch that begins there."""
        if self.augment is not None:
            self.generator.manual_seed(derive(self.seed, "augment", epoch, offset))

    def changed(self, rows: Tensor | None, pair: tuple[Tensor, Tensor]) -> Batch:
        """The batch of these inputs and targets, changed at random where asked."""
        inputs, targets = pair
        if self.augment is not None:
            with stage("augmentation"):
                inputs, targets = self.augment(inputs, targets, self.generator)
        return Batch(inputs, targets, rows, len(inputs))
