"""Ranks of variants over tasks, and Friedman's test of whether they differ at all.

Friedman, The use of ranks to avoid the assumption of normality, JASA 32 (1937); for comparisons over data sets:
Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.geometric import mean_interval
from nnopt.compare.statistics.permutation import DRAWN, MOST_ARRANGEMENTS

Floats = NDArray[np.float64]

# From so many tasks on the chi-square distribution is good enough, and drawing would be slow.
LARGE = 30
# A rank is rounded to a whole number, which alone has this standard deviation (Sheppard).
RANK_ROUNDING = 1 / math.sqrt(12)


@dataclass(frozen=True)
class Friedman:
    """A test that every order of the variants is equally likely in every task.

    `method` is "exact", "drawn" (9,999 random orders, always the same ones) or "chi-square". `smallest_p` is the
    smallest p that so many tasks and variants can give without ties.
    """

    p: float
    smallest_p: float
    method: str


def row_ranks(values: ArrayLike) -> Floats:
    """[tasks, variants] -> ranks from 1 in each row, the smallest value first; equal values share their mean rank."""
    table = np.asarray(values, np.float64)
    below = (table[:, None, :] < table[:, :, None]).sum(axis=2)
    equal = (table[:, None, :] == table[:, :, None]).sum(axis=2)
    return np.asarray(below + (equal + 1) / 2, np.float64)


def mean_rank_intervals(ranks: Floats) -> list[Interval | None]:
    """For each column of [tasks, variants], Student's t interval over tasks, within 1 to the number of variants."""
    count = ranks.shape[1]
    found = [mean_interval(column.tolist(), RANK_ROUNDING) for column in ranks.T]
    return [one and Interval(max(one.low, 1.0), min(one.high, float(count))) for one in found]


def friedman(ranks: Floats) -> Friedman | None:
    """Friedman's test on the ranks [tasks, variants], as `row_ranks` gives them.

    All orders within a task are counted where they are at most 20,000, else 9,999 are drawn. None below two tasks
    or two variants.
    """
    tasks, variants = ranks.shape
    if tasks < 2 or variants < 2:
        return None
    smallest = math.factorial(variants) ** (1.0 - tasks)
    # The first task's order may be held fast: renaming the variants in all tasks leaves the sums' spread alone.
    if (tasks - 1) * math.log(math.factorial(variants)) <= math.log(MOST_ARRANGEMENTS):
        return Friedman(_exact(ranks), smallest, "exact")
    if tasks < LARGE:
        return Friedman(_drawn(ranks), max(smallest, 1 / (DRAWN + 1)), "drawn")
    return Friedman(chi_square_p(ranks), smallest, "chi-square")


def _spread(ranks_summed: Floats) -> Floats:
    """[..., variants] -> [...]: sum of squares of the rank sums about their mean: Friedman's statistic but a factor."""
    about = ranks_summed - ranks_summed.mean(axis=-1, keepdims=True)
    return np.asarray((about**2).sum(axis=-1), np.float64)


def _at_least(spreads: Floats, seen: float) -> int:
    return int((spreads >= seen - 1e-9 * max(seen, 1.0)).sum())


def _exact(ranks: Floats) -> float:
    sums = ranks[:1]
    for row in ranks[1:]:
        orders = np.array(list(itertools.permutations(row)))
        sums = (sums[:, None, :] + orders[None]).reshape(-1, ranks.shape[1])
    return _at_least(_spread(sums), float(_spread(ranks.sum(axis=0)))) / len(sums)


def _drawn(ranks: Floats) -> float:
    random = np.random.default_rng(0)
    sums = np.zeros((DRAWN, ranks.shape[1]))
    for row in ranks:
        sums += random.permuted(np.broadcast_to(row, sums.shape), axis=1)
    return (_at_least(_spread(sums), float(_spread(ranks.sum(axis=0)))) + 1) / (DRAWN + 1)


def chi_square_p(ranks: Floats) -> float:
    """The approximate p of ranks [n tasks, k variants].

    (k - 1) · Σ (R_j - n(k + 1)/2)² / (Σ r² - n·k·(k + 1)²/4), which corrects for ties, against chi-square of
    k - 1 degrees of freedom.
    """
    from scipy.special import chdtrc

    tasks, variants = ranks.shape
    within = float((ranks**2).sum()) - tasks * variants * (variants + 1) ** 2 / 4
    if within <= 0:
        return 1.0
    return float(chdtrc(variants - 1, (variants - 1) * float(_spread(ranks.sum(axis=0))) / within))
