"""Batches that are asked for before they are wanted."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnopt.data.batches import Order, Position
from nnopt.data.streaming import Pair, StreamedPart
from nnopt.stages import stage


@dataclass(frozen=True, eq=False)
class _Coming:
    """A batch under way: where it begins, its rows [n] (None: all), where the one after it begins."""

    at: Position
    size: int
    rows: Tensor | None
    answer: Future[Pair]
    after: Position


class Prefetch:
    """Gives the batches of an order, and has the next ones read meanwhile.

    What comes next is guessed: a batch of the same size from where the last one ended, over the end of the epoch too.
    Where something else is asked for (a resume, a batch that grew) the guesses are dropped: a batch is a function of
    its position and size alone.
    """

    def __init__(self, part: StreamedPart, order: Order) -> None:
        self.part = part
        self.order = order
        # To read row numbers off an accelerator is to wait for all that was asked of it.
        order.device = torch.device("cpu")
        self._coming: deque[_Coming] = deque()

    def take(self, position: Position, size: int) -> tuple[Tensor | None, Pair]:
        """Rows of the batch [size], fewer at the epoch's end (None: all), its inputs and targets; moves `position`."""
        if not (self._coming and self._coming[0].at == position and self._coming[0].size == size):
            self._drop()
            self._ask(position, size)
        ahead = 0 if self._coming[0].rows is None else self.part.ahead(size)
        while len(self._coming) <= ahead:
            self._ask(self._coming[-1].after, size)
        one = self._coming.popleft()
        position.epoch, position.offset = one.after.epoch, one.after.offset
        rows = None if one.rows is None else one.rows.to(self.part.device, non_blocking=True)
        with stage("waiting"):
            pair = one.answer.result()
        return rows, self.part.moved(pair)

    def _ask(self, at: Position, size: int) -> None:
        after = replace(at)
        rows = self.order.take(after, size)
        self._coming.append(_Coming(replace(at), size, rows, self.part.ask(rows), after))

    def _drop(self) -> None:
        for one in self._coming:
            one.answer.cancel()
        self._coming.clear()
