"""What the curve of a range test says: where the loss falls fastest, and where it is lowest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MEMORY = 0.25  # decades over which losses are averaged
WINDOW = 0.5  # decades over which a slope is fitted, to either side a half
CLEAR = 4.0  # standard errors of the smoothed loss that it has to fall by

End = Literal["lower", "upper"]


@dataclass(frozen=True)
class Reading:
    """Rates where the smoothed loss falls fastest, is lowest, and is back at its first height: from there they ruin.

    `steepest` and `lowest` are None where the loss never fell clearly, `too_high` where it never came back. `edge`
    says at which end of the tested rates the loss falls fastest: the fastest fall may lie beyond it.
    """

    steepest: float | None
    lowest: float | None
    too_high: float | None
    edge: End | None = None


class Ema:
    """Exponential moving average, corrected for its start at 0 (Kingma & Ba 2015, arXiv:1412.6980, section 3)."""

    def __init__(self, memory: float) -> None:
        self.beta = memory / (1 + memory)  # its values are 1 / (1 − β) = 1 + `memory` updates old and younger
        self._sum = 0.0
        self._count = 0

    def add(self, value: float) -> float:
        """The average with `value` in it."""
        self._count += 1
        self._sum = self.beta * self._sum + (1 - self.beta) * value
        return self._sum / (1 - self.beta**self._count)


def memory_of(per_decade: float) -> float:
    """Updates that the smoothed loss looks back by."""
    return MEMORY * per_decade


def read_curve(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    per_decade: float,
    blows_up: float | None,
) -> Reading:
    """Reads a test's curve; `blows_up`: the rate at which it ended early.

    An average of the losses so far belongs to the mean of their rates, not to the last: each smoothed loss is placed
    there, in the logarithm. Slopes are least squares over half a decade, up to the lowest smoothed loss.
    """
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__, default=0)
    half = max(2, round(WINDOW / 2 * per_decade))
    if lowest < 2 * half or not _fell_clearly(losses, smoothed, lowest, per_decade):
        return Reading(None, None, blows_up)
    places = [math.log10(rate) for rate in placed_rates(rates, per_decade)]
    back = next((10 ** places[at] for at in range(lowest, len(smoothed)) if smoothed[at] >= smoothed[0]), blows_up)
    centres = range(half, lowest - half + 1)
    steepest = min(centres, key=lambda at: _slope(places, smoothed, at - half, at + half + 1))
    edge: End | None = None
    if steepest == centres[0]:
        edge = "lower"
    elif steepest == centres[-1] and lowest == len(smoothed) - 1 and blows_up is None:
        edge = "upper"
    return Reading(10 ** places[steepest], 10 ** places[lowest], back, edge)


def _fell_clearly(losses: Sequence[float], smoothed: Sequence[float], lowest: int, per_decade: float) -> bool:
    """Whether the fall from the first losses to the lowest smoothed one is more than chance.

    The first losses are those of a quarter of a decade. Losses scatter around the smoothed one; an average of
    1 + `memory` updates scatters by the factor √((1−β)/(1+β)) as much.
    """
    first = losses[: max(2, math.ceil(memory_of(per_decade)))]
    level = sum(first) / len(first)
    before = range(1, lowest + 1)
    scatter = math.sqrt(sum((losses[at] - smoothed[at - 1]) ** 2 for at in before) / len(before))
    beta = Ema(memory_of(per_decade)).beta
    error = scatter * math.sqrt(1 / len(first) + (1 - beta) / (1 + beta))
    return level - smoothed[lowest] > CLEAR * error


def placed_rates(rates: Sequence[float], per_decade: float) -> list[float]:
    """The rate that each smoothed loss belongs to: the mean, in the logarithm, of those it averages over."""
    average = Ema(memory_of(per_decade))
    return [10 ** average.add(math.log10(rate)) for rate in rates]


def _slope(places: Sequence[float], values: Sequence[float], start: int, end: int) -> float:
    """Slope of the least-squares line through points `start` to `end` − 1."""
    count = end - start
    mean_x, mean_y = sum(places[start:end]) / count, sum(values[start:end]) / count
    above = sum((places[at] - mean_x) * (values[at] - mean_y) for at in range(start, end))
    return above / sum((places[at] - mean_x) ** 2 for at in range(start, end))
