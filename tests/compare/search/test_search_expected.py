"""The expected best of n trials against every draw there is, and against drawing at random."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnopt.compare.search.expected import BAND, chance_of_at_most, expected_best

VALUES = st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=1, max_size=7).filter(
    lambda values: any(value is not None for value in values)
)


def bests(values: list[float | None], n: int, higher_is_better: bool) -> list[float]:
    """The best of every set of n trials, worst first; a trial without a value is as bad as the worst."""
    known = [value for value in values if value is not None]
    worst, best = (min, max) if higher_is_better else (max, min)
    filled = [worst(known) if value is None else value for value in values]
    found = [best(some) for some in itertools.combinations(filled, n)]
    return sorted(found, reverse=not higher_is_better)


@given(VALUES, st.booleans())
def test_it_is_that_of_all_draws_without_replacement(values: list[float | None], higher_is_better: bool) -> None:
    found = expected_best(values, 10.0, higher_is_better)
    assert found is not None
    assert found.trials == tuple(range(1, len(values) + 1))
    assert found.without == values.count(None)
    for place, n in enumerate(found.trials):
        every = bests(values, n, higher_is_better)
        assert found.expected[place] == pytest.approx(math.fsum(every) / len(every), abs=1e-9)
        worse, better = (every[max(math.ceil(share * len(every) - 1e-9), 1) - 1] for share in BAND)
        assert (found.low[place], found.high[place]) == ((worse, better) if higher_is_better else (better, worse))
        assert found.seconds[place] == pytest.approx(10.0 * n / len(values))


def test_of_all_trials_it_is_the_best_there_is() -> None:
    found = expected_best([0.1, None, 0.9, 0.5], 1.0, True)
    assert found is not None
    assert (found.expected[-1], found.low[-1], found.high[-1]) == (0.9, 0.9, 0.9)
    assert found.so_far == (0.1, 0.1, 0.9, 0.9)


def test_it_is_what_drawing_at_random_finds() -> None:
    values = np.random.default_rng(0).normal(size=300)
    found = expected_best(values.tolist(), 1.0, False)
    assert found is not None
    draws = np.random.default_rng(1)
    place = found.trials.index(20)
    best = [draws.choice(values, 20, replace=False).min() for _ in range(4000)]
    assert found.expected[place] == pytest.approx(float(np.mean(best)), abs=0.03)
    assert found.low[place] == pytest.approx(float(np.quantile(best, 0.05)), abs=0.05)
    assert found.high[place] == pytest.approx(float(np.quantile(best, 0.95)), abs=0.05)


@pytest.mark.parametrize("total", [1, 5, 400, 20_000])
def test_chances_are_those_of_binomials(total: int) -> None:
    for n in {1, min(3, total), min(total, 60), total}:
        chances = chance_of_at_most(total, n)
        for i in {n, (n + total) // 2, total}:
            exact = math.comb(i, n) / math.comb(total, n)
            assert chances[i - 1] == pytest.approx(exact, rel=1e-7)
        assert (np.diff(chances) >= 0).all()
        assert (chances[: n - 1] == 0).all()


def test_of_many_trials_there_are_few_points() -> None:
    found = expected_best(list(range(5000)), 1.0, True)
    assert found is not None
    assert found.trials[0] == 1
    assert found.trials[99] == 100
    assert found.trials[-1] == 5000
    assert len(found.trials) <= 200
    assert all(a < b for a, b in itertools.pairwise(found.trials))


def test_where_no_trial_has_a_value_there_is_none() -> None:
    assert expected_best([], 0.0, True) is None
    assert expected_best([None, None], 3.0, True) is None


def test_before_the_first_value_there_is_no_best_so_far() -> None:
    found = expected_best([None, 2.0, 3.0, 1.0], 1.0, False)
    assert found is not None
    assert found.so_far == (None, 2.0, 2.0, 1.0)
