"""How much of its budget a run has used."""

from __future__ import annotations

import math

from nnopt.spec.strategy import GrowingBatch, StrategySpec
from nnopt.spec.timing import Budget, Every


class Horizon:
    """Shares of the budget before and after an update, the size of the next batch, and the end.

    With a constant batch the share of `epochs` counts updates, so that schedules step as torch's do; with a growing
    one it counts samples.
    """

    def __init__(self, budget: Budget, strategy: StrategySpec, samples: int) -> None:
        self.budget = budget
        self.samples = samples
        self.batch = strategy.batch_size
        self.total_samples = budget.epochs * samples if budget.epochs else None
        self.total_steps = budget.steps
        if budget.epochs and not isinstance(self.batch, GrowingBatch):
            self.total_steps = budget.epochs * math.ceil(samples / self.batch_size(0.0))

    def batch_size(self, share: float) -> int:
        """Samples of an update that begins at `share` of the budget, the last of an epoch aside."""
        if isinstance(self.batch, GrowingBatch):
            return min(self.batch.size(share), self.samples)
        return self.samples if self.batch == "full" else int(self.batch)

    def shares(self, step: int, samples: int, seconds: float) -> tuple[float, float]:
        """Share of the budget used before and after the update that follows `step` updates."""
        if self.total_steps is not None:
            return step / self.total_steps, (step + 1) / self.total_steps
        if self.total_samples is not None:
            before = samples / self.total_samples
            return before, min(1.0, before + self.batch_size(before) / self.total_samples)
        assert self.budget.seconds is not None
        before = min(1.0, seconds / self.budget.seconds)
        return before, min(1.0, before * (step + 1) / step if step else before)

    def used_up(self, step: int, samples: int, seconds: float) -> bool:
        """Whether the run has come to its end."""
        if self.budget.steps is not None:
            return step >= self.budget.steps
        if self.total_samples is not None:
            return samples >= self.total_samples
        assert self.budget.seconds is not None
        return seconds >= self.budget.seconds


class Period:
    """Says when the multiples of an `every` are passed."""

    def __init__(self, every: Every, samples: int) -> None:
        self.every = every
        self.samples = samples

    def passed(self, step: int, samples: int, seconds: float) -> int:
        """How many whole periods lie behind."""
        if self.every.steps is not None:
            return step // self.every.steps
        if self.every.epochs is not None:
            return math.floor(samples / (self.every.epochs * self.samples) + 1e-9)
        assert self.every.seconds is not None
        return int(seconds // self.every.seconds)
