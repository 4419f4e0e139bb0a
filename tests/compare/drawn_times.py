"""Drawn times to target in which the truth is known: how often intervals hold it, and how often an alarm is false.

The true moments of the baseline b are lognormal around 1; those of a are drawn alike and stretched by a known factor.
What is seen of them is the first evaluation after, on a grid, and nothing beyond the budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.survival import Times
from nnopt.compare.target import AxisTime, Target, TimeToTarget
from nnopt.compare.time_ratio import time_ratio

Floats = NDArray[np.float64]
SD = 0.2  # of the logarithm of a moment: a fifth of it
SCATTER = 0.2  # of the logarithm of a run's own end
UNLIMITED = 100.0  # a budget that no run uses up
TIE = 1e-9
GOAL = Target("val_accuracy", 0.97)


def seen(moments: Floats, grid: float, budget: float | Floats = UNLIMITED, first_seed: int = 0) -> TimeToTarget:
    """What evaluations every `grid` up to `budget` (of all, or of each) see of the true moments; inf: diverged."""
    high = np.maximum(np.ceil(moments / grid - TIE), 1) * grid
    last = np.floor(np.asarray(budget) / grid + TIE) * grid
    end = np.where(np.isfinite(moments), last, math.inf)
    reached = high <= last + TIE
    low = np.where(reached, high - grid, end)
    low[np.abs(low) < TIE] = 0.0
    return group(low, np.where(reached, high, end), reached, end, first_seed)


def group(low: Floats, high: Floats, reached: NDArray[np.bool_], end: Floats, first_seed: int = 0) -> TimeToTarget:
    """A group's times on the one axis "steps"."""
    seeds = tuple(range(first_seed, first_seed + len(low)))
    times = Times(seeds, tuple(low.tolist()), tuple(high.tolist()), tuple(reached.tolist()), tuple(end.tolist()))
    count = sum(times.reached)
    return TimeToTarget(GOAL, count, len(seeds), Interval(0.0, 1.0), {"steps": AxisTime(None, None, times)}, False)


@dataclass(frozen=True)
class Setting:
    """How experiments are drawn: `grids` of a and b; `missed` is the share of b's runs that never get there.

    They miss because the budget ends, or where they `diverge`, because they do (runs of a as well). Where they are
    `scattered` each run ends at a time of its own around the budget, those of a earlier. With `shared_seeds` half of
    the variance is common to the runs of one seed.
    """

    n: int
    grids: tuple[float, float]
    missed: float = 0.0
    diverge: bool = False
    scattered: bool = False
    shared_seeds: bool = True

    @property
    def budget(self) -> float:
        """The quantile of b's moments beyond which the share is missed."""
        if not self.missed or self.diverge:
            return UNLIMITED
        from scipy.special import ndtri

        return math.exp(SD * float(ndtri(1 - self.missed)))

    def draw(self, factor: float, generator: np.random.Generator) -> tuple[TimeToTarget, TimeToTarget]:
        """One experiment: a and b, of which a takes `factor` times as long."""
        common, *own = generator.normal(size=(3, self.n)) * (SD / math.sqrt(2))
        if not self.shared_seeds:
            own = [noise * math.sqrt(2) for noise in own]
            common = np.zeros(self.n)
        moments = [scale * np.exp(common + noise) for scale, noise in zip((factor, 1.0), own, strict=True)]
        if self.diverge:
            for drawn in moments:
                drawn[generator.random(self.n) < self.missed] = math.inf
        budgets = np.full((2, self.n), self.budget)
        if self.scattered:
            budgets *= np.exp(SCATTER * generator.normal(size=budgets.shape) - [[SCATTER], [0.0]])
        first_seeds = (0, 0 if self.shared_seeds else self.n)
        a, b = map(seen, moments, self.grids, budgets, first_seeds)
        return a, b


@dataclass(frozen=True)
class Rates:
    """Shares of `count` experiments: the interval held the truth, p <= 5 %, there was no bounded interval."""

    count: int
    covered: float
    alarms: float
    unbounded: float


def rates(setting: Setting, factor: float, count: int, seed: int = 0) -> Rates:
    """Of `count` drawn experiments; no interval at all holds everything."""
    generator = np.random.default_rng([seed, setting.n, round(1000 * factor), *(round(1e4 * g) for g in setting.grids)])
    covered = alarms = unbounded = 0
    for _ in range(count):
        found = time_ratio(*setting.draw(factor, generator), "steps")
        assert found.p is not None
        alarms += found.p <= 0.05
        if found.interval is None:
            unbounded += 1
            covered += 1
        else:
            covered += found.interval.low * (1 - TIE) <= factor <= found.interval.high * (1 + TIE)
    return Rates(count, covered / count, alarms / count, unbounded / count)
