"""Which batch and which learning rate an update has: a function of its number, so that any process can find it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from nnopt.data.batches import Position
from nnopt.train.setup import Setup


@dataclass(frozen=True)
class Start:
    """Where a run is before an update.

    Attributes:
        step, samples: of the updates so far.
        epoch, offset: the position in the data.
        seconds: of training so far.
        factor: what a plateau multiplies the learning rate by.
    """

    step: int
    samples: int
    epoch: int
    offset: int
    seconds: float
    factor: float


class Course:
    """Goes from update to update, forwards, without carrying any out."""

    def __init__(self, setup: Setup, start: Start) -> None:
        self.setup = setup
        self.step = start.step
        self.samples = start.samples
        self.position = Position(start.epoch, start.offset)
        self._start = start
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of training up to now."""
        return self._start.seconds + time.perf_counter() - self._began

    def go_to(self, step: int) -> None:
        """Goes on to where `step` updates are made."""
        while self.step < step:
            self._advance()

    def size(self) -> int:
        """Samples of the next batch as the strategy has it; an epoch's last may have fewer."""
        horizon = self.setup.horizon
        return horizon.batch_size(horizon.shares(self.step, self.samples, self.seconds)[0])

    def rate(self) -> tuple[float, float]:
        """The share of the budget used, and the learning rate of the next update."""
        settings = self.setup.settings
        before, after = self.setup.horizon.shares(self.step, self.samples, self.seconds)
        lr = settings.optimizer.peak_lr * settings.strategy.lr_decay.multiplier(before, after)
        return before, lr * self._start.factor

    def place(self) -> Position:
        """A copy of the position of the next batch."""
        return replace(self.position)

    def _advance(self) -> None:
        total, position = self.setup.feed.samples, self.position
        taken = min(self.size(), total - position.offset)
        self.step += 1
        self.samples += taken
        position.offset += taken
        if position.offset >= total:
            position.epoch, position.offset = position.epoch + 1, 0
