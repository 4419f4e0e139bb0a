"""Learning-rate range test: the rate grows with every update, and the loss shows which rates train.

Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nnopt.errors import UsageError
from nnopt.plan import RunSpec
from nnopt.search.steps import Steps
from nnopt.search.tune.reading import Ema, Reading, memory_of, placed_rates, read_curve
from nnopt.spec.experiment import RunSettings
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest
from nnopt.train.teachers import build_with_teachers

BLOWN_UP = 4.0  # times the best smoothed loss


@dataclass(frozen=True)
class Range:
    """The rates of a test: `steps` updates from `low` to `high`, each a constant factor above the one before."""

    low: float = 1e-6
    high: float = 100.0
    steps: int = 200

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise UsageError(
                f"--low {self.low:g} and --high {self.high:g}: both above 0 and finite, and the first is the lower"
            )
        if self.high / self.low > WIDEST:
            raise UsageError(f"--low {self.low:g} and --high {self.high:g}: they lie at most {WIDEST:g} times apart")
        if self.steps < MIN_STEPS:
            raise UsageError(f"--steps {self.steps}: a test takes at least {MIN_STEPS} updates")

    @property
    def per_decade(self) -> float:
        """Updates while the rate grows tenfold."""
        return (self.steps - 1) / math.log10(self.high / self.low)

    def rate(self, index: int) -> float:
        """The rate of update `index`, from 0."""
        return float(self.low * (self.high / self.low) ** (index / (self.steps - 1)))


MIN_STEPS = 20
WIDEST = 1e100  # times from the lowest rate to the highest


@dataclass(frozen=True)
class RangeTest:
    """One seed's test: of each update the rate, the loss, the smoothed loss and the rate that belongs to it.

    Where the loss ceased to be finite, the last loss is no number and is left out. `blows_up` is the rate at which
    the test ended early, None where it came to its end.
    """

    seed: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    smoothed_rates: tuple[float, ...]
    blows_up: float | None
    reading: Reading


def unsuited(settings: RunSettings) -> str | None:
    """Why a range test makes no sense for these settings, or None."""
    optimizer = settings.optimizer
    if optimizer.lr_key is None:
        return f"optimizer {optimizer.kind} has no learning rate"
    if optimizer.searches:
        return (
            f"optimizer {optimizer.kind} searches along a line for the length of its steps: "
            "its rate is no such length, and a growing one shows nothing"
        )
    return None


def range_test(
    run: RunSpec, cache: DataCache, rates: Range, stop: StopRequest, tick: Callable[[], None] = lambda: None
) -> RangeTest:
    """Trains a fresh model at rates that grow from update to update; `tick` is called after each.

    It ends where the loss is not finite, or where the smoothed loss is above four times its best and above what it
    was at first. Rate decay, early stopping and the budget play no part; a plain function of the run and its seed.

    Raises:
        UsageError: the settings do not fit together.
        Interrupted: a signal came.
    """
    steps = Steps(*build_with_teachers(run, cache))
    size = steps.setup.horizon.batch_size(0.0)
    average = Ema(memory_of(rates.per_decade))
    losses: list[float] = []
    smoothed: list[float] = []
    blows_up = None
    for index in range(rates.steps):
        stop.raise_if_set()
        rate = rates.rate(index)
        loss = steps.update(steps.next_batch(size), rate).item()
        tick()
        if not math.isfinite(loss):
            blows_up = rate
            break
        losses.append(loss)
        smoothed.append(average.add(loss))
        best = min(smoothed)
        if smoothed[-1] > max(best + (BLOWN_UP - 1) * abs(best), smoothed[0]):
            blows_up = rate
            break
    used = tuple(rates.rate(index) for index in range(len(losses)))
    reading = read_curve(used, losses, smoothed, rates.per_decade, blows_up)
    placed = tuple(placed_rates(used, rates.per_decade))
    return RangeTest(run.seed, used, tuple(losses), tuple(smoothed), placed, blows_up, reading)
