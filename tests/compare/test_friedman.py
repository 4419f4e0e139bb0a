"""Ranks over tasks and Friedman's test: against scipy, printed tables, a published example, and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.statistics.friedman import Friedman, chi_square_p, friedman, mean_rank_intervals, row_ranks

# Hollander and Wolfe, Nonparametric statistical methods (1973), page 140: times of 22 players to round first base
# by three methods; the example of R's friedman.test, which prints chi-squared 11.143 and p = 0.003805.
ROUNDING = [
    *((5.40, 5.50, 5.55), (5.85, 5.70, 5.75), (5.20, 5.60, 5.50), (5.55, 5.50, 5.40), (5.90, 5.85, 5.70)),
    *((5.45, 5.55, 5.60), (5.40, 5.40, 5.35), (5.45, 5.50, 5.35), (5.25, 5.15, 5.00), (5.85, 5.80, 5.70)),
    *((5.25, 5.20, 5.10), (5.65, 5.55, 5.45), (5.60, 5.35, 5.45), (5.05, 5.00, 4.95), (5.50, 5.50, 5.40)),
    *((5.45, 5.55, 5.50), (5.55, 5.55, 5.35), (5.45, 5.50, 5.55), (5.50, 5.45, 5.25), (5.65, 5.60, 5.40)),
    *((5.70, 5.65, 5.55), (6.30, 6.30, 6.25)),
]


def judged(values: object) -> Friedman:
    found = friedman(row_ranks(values))  # type: ignore[arg-type]
    assert found is not None
    return found


@settings(derandomize=True, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=6))
def test_ranks_are_scipys(values: list[list[int]]) -> None:
    assert row_ranks(values) == pytest.approx(np.array([scipy.stats.rankdata(row) for row in values]))


def test_a_time_that_never_came_ranks_last_with_its_like() -> None:
    assert row_ranks([[3.0, math.inf, 1.0, math.inf]]).tolist() == [[2, 3.5, 1, 3.5]]


def test_the_published_example_of_rounding_times() -> None:
    ranks = row_ranks(ROUNDING)
    assert chi_square_p(ranks) == pytest.approx(0.003805, abs=5e-7)
    found = judged(ROUNDING)
    assert found.method == "drawn"
    assert found.p == pytest.approx(0.003805, abs=0.002)


# Exact tail probabilities as printed in Siegel, Nonparametric statistics (1956), table N, after Friedman (1937):
# rank sums that give the statistic, and the probability of one at least as large.
PRINTED = [
    ([[1, 2, 3], [1, 2, 3]], 0.167),  # k = 3, N = 2, 4.0
    ([[1, 2, 3], [1, 2, 3], [1, 2, 3]], 0.028),  # k = 3, N = 3, 6.0
    ([[1, 2, 3], [1, 2, 3], [1, 3, 2]], 0.194),  # 4.667
    ([[1, 2, 3]] * 4, 0.0046),  # k = 3, N = 4, 8.0
    ([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 3, 2]], 0.042),  # 6.5
    ([[1, 2, 3, 4]] * 3, 0.0017),  # k = 4, N = 3, 9.0
    ([[1, 2, 3, 4]] * 2, 0.042),  # k = 4, N = 2, 6.0
]


@pytest.mark.parametrize(("ranks", "p"), PRINTED)
def test_small_tables_have_the_printed_probabilities(ranks: list[list[float]], p: float) -> None:
    found = judged(ranks)
    assert found.method == "exact"
    assert found.p == pytest.approx(p, abs=6e-4 if p > 0.01 else 6e-5)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=3))
def test_exact_counts_are_those_of_all_orders_in_all_tasks(values: list[list[int]]) -> None:
    ranks = np.array([scipy.stats.rankdata(row) for row in values])
    seen = ((ranks.sum(axis=0) - ranks.sum() / 3) ** 2).sum()
    spreads = [
        ((np.array(rows).sum(axis=0) - ranks.sum() / 3) ** 2).sum()
        for rows in itertools.product(*(list(itertools.permutations(row)) for row in ranks))
    ]
    assert judged(values).p == pytest.approx(sum(spread >= seen - 1e-9 for spread in spreads) / len(spreads))


def test_many_tasks_use_chi_square_with_ties_corrected() -> None:
    values = np.random.default_rng(3).integers(0, 5, size=(40, 4)) + np.array([0, 0, 0, 1])
    found = judged(values)
    assert found.method == "chi-square"
    assert found.p == pytest.approx(scipy.stats.friedmanchisquare(*values.T).pvalue)
    assert judged(np.ones((40, 3))).p == 1.0


def test_drawn_orders_come_close_to_all_of_them() -> None:
    """Eight tasks of three variants: 6**7 orders, near enough to count here."""
    ranks = row_ranks(np.random.default_rng(5).normal(size=(8, 3)) + np.array([0, 0.5, 1]))
    sums = {(0.0, 0.0, 0.0): 1}
    for row in ranks:
        longer: dict[tuple[float, ...], int] = {}
        for so_far, count in sums.items():
            for order in itertools.permutations(row):
                key = tuple(np.add(so_far, order))
                longer[key] = longer.get(key, 0) + count
        sums = longer  # type: ignore[assignment]
    seen = ((ranks.sum(axis=0) - 16) ** 2).sum()
    exact = sum(count for key, count in sums.items() if ((np.array(key) - 16) ** 2).sum() >= seen - 1e-9) / 6**8
    found = friedman(ranks)
    assert found is not None
    assert found.method == "drawn"
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))
    assert found == friedman(ranks)


def test_no_more_false_alarms_than_promised() -> None:
    """Alike variants on five tasks: the share of p <= 0.05 is at most that, within two Monte Carlo errors."""
    random = np.random.default_rng(8)
    alarms = sum(judged(random.normal(size=(5, 3))).p <= 0.05 for _ in range(1000))
    assert alarms / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_the_smallest_p_is_what_full_agreement_gives() -> None:
    for tasks, variants in ((2, 2), (2, 3), (3, 3), (3, 4)):
        agreed = judged([list(range(variants))] * tasks)
        assert agreed.p == pytest.approx(agreed.smallest_p)
    assert friedman(np.ones((1, 3))) is None
    assert friedman(np.ones((3, 1))) is None


def test_intervals_of_mean_ranks_stay_between_first_and_last() -> None:
    intervals = mean_rank_intervals(row_ranks([[1.0, 2.0, 3.0]] * 3))
    # Three equal ranks still have the spread of rounding to whole ranks: t(2) / sqrt(12) / sqrt(3) = 0.717.
    assert [(one.low, one.high) for one in intervals if one] == [
        (1.0, pytest.approx(1.717, abs=1e-3)),
        (pytest.approx(1.283, abs=1e-3), pytest.approx(2.717, abs=1e-3)),
        (pytest.approx(2.283, abs=1e-3), 3.0),
    ]
    assert mean_rank_intervals(row_ranks([[1.0, 2.0]] * 2)) == [None, None]
