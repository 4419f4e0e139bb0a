"""The price of tuning: what the best of n trials is expected to be.

Dodge et al. 2019, Show your work: improved reporting of experimental results, arXiv:1909.03004, with draws without
replacement, which are unbiased (Tang et al. 2020, Showing your work doesn't always work, arXiv:2004.13705).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALL_UP_TO = 100  # each number of trials, from there on by equal factors
MOST_POINTS = 200
BAND = (0.05, 0.95)


@dataclass(frozen=True)
class ExpectedBest:
    """For each number n in `trials` the mean of the best of n of the N trials, over all draws without replacement.

    In nine of ten draws the best lies between `low` and `high`. `seconds` is what n trials cost on average.
    Trials without a value (`without` of them: diverged, pruned or failed) count as the worst of the others.
    `so_far` is the best of the first n trials as they came, None before the first with a value: where the sampler
    learns, later trials are better ones, and this is what it got from n trials.
    """

    trials: tuple[int, ...]
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seconds: tuple[float, ...]
    so_far: tuple[float | None, ...]
    without: int


def expected_best(values: Sequence[float | None], seconds: float, higher_is_better: bool) -> ExpectedBest | None:
    """From the trials' values in their order, None for one without; None where none has any.

    `seconds` were spent on all of them together.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    sign = 1.0 if higher_is_better else -1.0
    worst = min(known, key=lambda value: sign * value)
    total = len(values)
    ordered = np.sort(np.array([sign * (worst if value is None else value) for value in values]))
    counts = _counts(total)
    means, lows, highs = [], [], []
    for n in counts:
        below = chance_of_at_most(total, n)
        means.append(float(ordered @ np.diff(below, prepend=0.0)))
        lows.append(float(ordered[np.searchsorted(below, BAND[0] - 1e-12)]))
        highs.append(float(ordered[np.searchsorted(below, BAND[1] - 1e-12)]))
    ends = (lows, highs) if higher_is_better else (highs, lows)
    so_far = _best_so_far(values, sign)
    return ExpectedBest(
        trials=counts,
        expected=tuple(sign * value for value in means),
        low=tuple(sign * value for value in ends[0]),
        high=tuple(sign * value for value in ends[1]),
        seconds=tuple(seconds * n / total for n in counts),
        so_far=tuple(so_far[n - 1] for n in counts),
        without=total - len(known),
    )


def chance_of_at_most(total: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[total]: the chance that the best of n drawn from `total` is among the i worst, C(i, n) / C(total, n)."""
    from scipy.special import gammaln

    chances = np.zeros(total)
    i = np.arange(n, total + 1)
    logs = gammaln(i + 1) - gammaln(i - n + 1) - gammaln(total + 1) + gammaln(total - n + 1)
    chances[n - 1 :] = np.exp(np.minimum(logs, 0.0))
    chances[-1] = 1.0
    return chances


def _counts(total: int) -> tuple[int, ...]:
    if total <= ALL_UP_TO:
        return tuple(range(1, total + 1))
    further = np.geomspace(ALL_UP_TO, total, MOST_POINTS - ALL_UP_TO + 1)[1:]
    return tuple(dict.fromkeys([*range(1, ALL_UP_TO + 1), *(round(n) for n in further.tolist())]))


def _best_so_far(values: Sequence[float | None], sign: float) -> list[float | None]:
    best: float | None = None
    found = []
    for value in values:
        if value is not None and (best is None or sign * value > sign * best):
            best = value
        found.append(best)
    return found
