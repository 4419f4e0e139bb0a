"""Rows of a data set that are read when they are wanted, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.dataset import Samples
from nnopt.data.normalise import Scaling
from nnopt.data.raw import Array
from nnopt.data.reading import Rows

Pair = tuple[Tensor, Tensor]


class StreamedPart(Samples):
    """Rows that are read and scaled batch by batch; the same numbers as those of a `Part`, bit for bit.

    Args:
        rows: the inputs.
        targets: [n, ...], as those of a `Part`, in memory on the CPU.
        scaling: what the inputs are brought to scale by.
        device: where batches are wanted.
    """

    def __init__(self, rows: Rows, targets: Tensor, scaling: Scaling, device: torch.device | None = None) -> None:
        self.rows = rows
        self.targets = targets
        self.scaling = scaling
        self._device = device or torch.device("cpu")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    @override
    def device(self) -> torch.device:
        return self._device

    def ahead(self, size: int) -> int:
        """How many batches of `size` rows may be asked for before they are wanted."""
        return self.rows.readers.ahead(size * self.rows.bytes_of_row)

    @override
    def gather(self, rows: Tensor | None, epoch: int = 0) -> Pair:
        return self.moved(self._read(_numbers(rows, len(self))))

    @override
    def all_targets(self) -> Tensor:
        return self.targets.to(self._device)

    def ask(self, rows: Tensor | None) -> Future[Pair]:
        """Has `rows` [n] (None: all) read meanwhile; what comes is for `moved`."""
        return self.rows.readers.submit(partial(self._read, _numbers(rows, len(self))))

    def moved(self, pair: Pair) -> Pair:
        """Inputs and targets as they were read, on the device."""
        inputs, targets = pair
        return inputs.to(self._device, non_blocking=True), targets.to(self._device, non_blocking=True)

    @override
    def chunks(self, size: int) -> Iterator[Pair]:
        reads = (
            partial(self._read, np.arange(start, min(start + size, len(self)))) for start in range(0, len(self), size)
        )
        for pair in self.rows.readers.each(reads, self.ahead(size)):
            yield self.moved(pair)

    @override
    def to(self, device: torch.device | str) -> StreamedPart:
        return StreamedPart(self.rows, self.targets, self.scaling, torch.device(device))

    def _read(self, places: Array) -> Pair:
        """The rows at these places, scaled, on the CPU; pinned where an accelerator is to copy them."""
        inputs = self.scaling.apply(self.rows.read(places))
        targets = torch.from_numpy(self.targets.numpy()[places])
        if self._device.type == "cuda":
            return inputs.pin_memory(), targets.pin_memory()
        return inputs, targets


def _numbers(rows: Tensor | None, count: int) -> Array:
    return np.arange(count) if rows is None else rows.cpu().numpy()
