"""Updates for the sake of measuring: as a run takes them, with no record kept of them."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from nnopt.data.batches import Position
from nnopt.data.feed import Batch
from nnopt.spec.experiment import RunSettings
from nnopt.train.setup import Setup
from nnopt.train.state import TrainState

# So small that the weights stay what they are: what is timed then depends on no rate and never overflows.
STILL_RATE = 1e-12


def still_rate(settings: RunSettings) -> float:
    """A rate for timing; the spec's own where a line search decides how much work an update is."""
    return settings.optimizer.peak_lr if settings.optimizer.searches else STILL_RATE


class Steps:
    """Updates of one built run, whole batches in the order of its seed."""

    def __init__(self, setup: Setup, state: TrainState) -> None:
        self.setup = setup
        self.state = state
        self.taken = 0

    def next_batch(self, size: int) -> Batch:
        """A whole batch of `size` samples; the ragged end of an epoch is passed over."""
        position, samples = self.state.position, self.setup.feed.samples
        if size < samples < position.offset + size:
            self.state.position = position = Position(position.epoch + 1, 0)
        return self.setup.feed.take(position, size)

    def update(self, batch: Batch, lr: float) -> Tensor:
        """One update at the rate `lr`; the batch's loss before it, 0-dim, which waits for nothing."""
        state, backward = self.state, self.setup.backward
        backward.begin(batch, norm_wanted=False)
        if state.scaler is None:
            state.optimizer.step(backward, lr)
        else:
            state.optimizer.step(backward, lr, state.scaler.finite)
            state.scaler.update()
        self.taken += 1
        if state.average:
            state.average.update(0.0, self.taken, self.taken * len(batch), state.clock.read())
        assert backward.loss is not None
        return backward.loss

    def seconds(self, size: int, count: int) -> float:
        """Seconds of `count` updates with batches of `size` (weights unchanged), the device's work waited for."""
        lr = still_rate(self.setup.settings)
        self.wait()
        start = time.perf_counter()
        for _ in range(count):
            self.update(self.next_batch(size), lr)
        self.wait()
        return time.perf_counter() - start

    @property
    def passes(self) -> int:
        """Forward and backward passes so far: one an update, but where a line search takes more."""
        return self.setup.backward.evaluations

    def count_for(self, size: int, seconds: float, most: int = 10_000) -> tuple[int, float]:
        """How many updates take about `seconds`, and what one took, after one that is not counted (it warms up)."""
        first = self.seconds(size, 1)
        if first > seconds:
            return 1, first
        one = self.seconds(size, 1)
        return max(1, min(most, int(seconds / max(one, 1e-9)))), one

    def wait(self) -> None:
        """Waits for an accelerator."""
        if self.setup.device.type != "cpu":
            torch.accelerator.synchronize(self.setup.device)
