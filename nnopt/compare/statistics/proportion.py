"""Shares of runs: how sure a success rate is, and whether one group has more successes than another."""

from __future__ import annotations

import math

from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.student import CONFIDENCE


def success_rate(k: int, n: int) -> Interval:
    """The exact 95 % interval of a rate of which k of n were seen (Clopper & Pearson 1934); (0, 1) where n is 0.

    Raises:
        ValueError: not 0 <= k <= n.
    """
    from scipy.special import betaincinv

    _check(k, n)
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(low, high)


def fisher_more(k_a: int, n_a: int, k_b: int, n_b: int) -> float:
    """The chance that a has k_a or more of the k_a + k_b successes if each run might have had them (Fisher 1935).

    The one-sided exact test of a 2 x 2 table with all margins kept.

    Raises:
        ValueError: not 0 <= k <= n in one of the groups.
    """
    _check(k_a, n_a)
    _check(k_b, n_b)
    successes = k_a + k_b
    most = min(n_a, successes)
    # math.comb is 0 where more are chosen than there are.
    ways = sum(math.comb(n_a, k) * math.comb(n_b, successes - k) for k in range(k_a, most + 1))
    return ways / math.comb(n_a + n_b, successes)


def _check(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no count of successes")
