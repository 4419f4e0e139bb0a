"""Geometric means of ratios, and intervals of means over tasks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from nnopt.compare.statistics.difference import Interval

# Fewer tasks give no interval: two ratios say next to nothing of a third.
FEWEST_TASKS = 3
CONFIDENCE = 0.95


def geometric_mean(ratios: Sequence[float]) -> float:
    """exp of the mean of the logs; the ratios are positive and finite.

    The only mean of ratios that does not depend on which side is divided by which (Fleming and Wallace, How not
    to lie with statistics, Communications of the ACM 29, 1986).
    """
    return math.exp(statistics.fmean(map(math.log, ratios)))


def geometric_interval(ratios: Sequence[float]) -> Interval | None:
    """Student's t interval of the mean of the logs, taken back from them; None below three ratios."""
    found = mean_interval([math.log(ratio) for ratio in ratios])
    return None if found is None else Interval(math.exp(found.low), math.exp(found.high))


def mean_interval(values: Sequence[float], least_sd: float = 0.0) -> Interval | None:
    """mean ± t(n - 1) · sd / √n with the sample sd, taken to be at least `least_sd`; None below three values."""
    count = len(values)
    if count < FEWEST_TASKS:
        return None
    from scipy.special import stdtrit

    mean, sd = statistics.fmean(values), max(statistics.stdev(values), least_sd)
    margin = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(count)
    return Interval(mean - margin, mean + margin)
