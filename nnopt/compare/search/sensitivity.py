"""How much the objective depends on the learning rate, and how wide the range of good ones is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from nnopt.compare.search.trial import Trial

RATES = ("optimizer.lr", "optimizer.base.lr")  # the second of an optimizer that wraps another
WITHIN = 0.01  # of the best value
BINS_A_DECADE = 4
FEWEST = 3  # different rates


@dataclass(frozen=True)
class RatePoint:
    """One trial: its rate and its value, None where it diverged."""

    rate: float
    value: float | None
    trial: int


@dataclass(frozen=True)
class Sensitivity:
    """The objective against the rate.

    `points` are all trials that are done or diverged, by their rates. `curve` are those that the line goes through:
    all of them, or where other keys were searched as well (`is_envelope`) the best of each quarter decade, which says
    what a rate can do beside good values of the other keys. Between `low` and `high` the line lies within 1 % of the
    best value, on the good side of `threshold`; an end that is open was not found within what was tried.
    """

    key: str
    is_envelope: bool
    points: tuple[RatePoint, ...]
    curve: tuple[RatePoint, ...]
    best: RatePoint
    threshold: float
    low: float
    high: float
    low_is_open: bool
    high_is_open: bool

    @property
    def decades(self) -> float:
        """The width of the range, as the logarithm to base 10 of high / low."""
        return math.log10(self.high / self.low)

    @property
    def is_open(self) -> bool:
        """Whether the range is at least so wide."""
        return self.low_is_open or self.high_is_open

    def sentence(self) -> str:
        """`within 1 % of the best for optimizer.lr 0.0012 to 0.031, 1.41 decades`."""
        sides = [name for name, is_open in (("lower", self.low_is_open), ("upper", self.high_is_open)) if is_open]
        width = f"{'at least ' if sides else ''}{self.decades:.2f} decades"
        which = {0: "", 1: f" (its {''.join(sides)} end was not found)", 2: " (neither end was found)"}
        beyond = which[len(sides)]
        return f"within 1 % of the best for {self.key} {self.low:.3g} to {self.high:.3g}, {width}{beyond}"


def sensitivity(trials: Sequence[Trial], key: str, is_alone: bool, higher_is_better: bool) -> Sensitivity | None:
    """From the trials that have `key`; None where fewer than three different rates came to a value.

    `is_alone`: no other key was searched. Trials that were pruned or failed say nothing here.
    """
    points = sorted(
        (
            RatePoint(float(trial.setting[key]), trial.value if trial.status == "done" else None, trial.number)
            for trial in trials
            if trial.status == "diverged" or (trial.status == "done" and trial.value is not None)
            if trial.setting.get(key, 0) > 0
        ),
        key=lambda point: (point.rate, point.trial),
    )
    known = [point for point in points if point.value is not None]
    if len({point.rate for point in known}) < FEWEST:
        return None
    sign = 1.0 if higher_is_better else -1.0
    curve = _best_of_each(points, is_alone, sign)
    place = max(range(len(curve)), key=lambda index: (_height(curve[index], sign), -curve[index].trial))
    best = curve[place]
    assert best.value is not None
    threshold = best.value - sign * WITHIN * abs(best.value)
    high, high_is_open = _reach(curve[place:], sign, threshold)
    low, low_is_open = _reach(curve[place::-1], sign, threshold)
    return Sensitivity(
        key=key,
        is_envelope=not is_alone,
        points=tuple(points),
        curve=tuple(curve),
        best=best,
        threshold=threshold,
        low=low,
        high=high,
        low_is_open=low_is_open,
        high_is_open=high_is_open,
    )


def _height(point: RatePoint, sign: float) -> float:
    return -math.inf if point.value is None else sign * point.value


def _best_of_each(points: Sequence[RatePoint], is_alone: bool, sign: float) -> list[RatePoint]:
    """The best point of each rate, or of each quarter decade, by their rates; of equal ones the earliest trial."""
    binned: dict[float, list[RatePoint]] = defaultdict(list)
    for point in points:
        binned[point.rate if is_alone else math.floor(BINS_A_DECADE * math.log10(point.rate))].append(point)
    return [max(some, key=lambda point: (_height(point, sign), -point.trial)) for some in binned.values()]


def _reach(curve: Sequence[RatePoint], sign: float, threshold: float) -> tuple[float, bool]:
    """From the best point outwards: the rate at which the line falls behind the threshold; whether it never does.

    Between two points the line is straight in the logarithm of the rate; towards a point that diverged it ends where
    it is.
    """
    inside = curve[0]
    for outside in curve[1:]:
        if outside.value is None:
            return inside.rate, False
        if sign * (outside.value - threshold) < 0:
            assert inside.value is not None
            share = (inside.value - threshold) / (inside.value - outside.value)
            return inside.rate * (outside.rate / inside.rate) ** share, False
        inside = outside
    return inside.rate, True
