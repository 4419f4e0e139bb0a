"""Ranks against scipy, a textbook and slow twins: superiority, Hodges-Lehmann shift, its interval, the exact test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from nnopt.compare.statistics import ranks
from nnopt.compare.statistics.difference import Difference, Interval, difference, ratio
from nnopt.compare.statistics.samples import Samples

INF = math.inf
# Permeability of the human chorioamnion (Hollander & Wolfe 1973, table 4.1), at term and at 12 to 26 weeks.
AT_TERM = (0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46)
EARLY = (1.15, 0.88, 0.90, 0.74, 1.21)


def sample(values: Sequence[float], first: int = 0) -> dict[int, float]:
    return {first + seed: float(value) for seed, value in enumerate(values)}


def samples(a: Sequence[float], b: Sequence[float]) -> Samples:
    return Samples.of(sample(a), sample(b, first=len(a)))


def compared(a: Sequence[float], b: Sequence[float]) -> Difference:
    return difference(sample(a), sample(b))


def test_a_textbook_example() -> None:
    """Hollander & Wolfe: W = 35 of 50, one-sided p = 0.1272, estimate 0.305 (also in R's `?wilcox.test`)."""
    both = samples(AT_TERM, EARLY)
    assert ranks.superiority(both.a, both.b) == 35 / 50
    assert ranks.rank_test(both)[0] == pytest.approx(2 * 0.1272, abs=1e-4)
    assert ranks.shift(both) == pytest.approx(0.305)
    assert ranks.shift_interval(both) == pytest.approx((-0.15, 0.76))


@pytest.mark.parametrize(("m", "n"), [(3, 3), (3, 7), (5, 5), (10, 10), (8, 14), (40, 50)])
@pytest.mark.parametrize("seed", range(3))
def test_the_rank_test_against_scipy(m: int, n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(0.5, size=m), generator.normal(size=n)
    expected = stats.mannwhitneyu(a, b, alternative="two-sided", method="exact")
    p, smallest = ranks.rank_test(samples(a, b))
    assert p == pytest.approx(expected.pvalue, rel=1e-10)
    assert smallest == 2 / math.comb(m + n, m)
    assert ranks.superiority(a, b) == pytest.approx(expected.statistic / (m * n))


def slow_rank_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Twice the smaller tail of the sum of a's midranks, over all ways to deal the labels out."""
    midranks = stats.rankdata([*a, *b])
    observed = midranks[: len(a)].sum()
    sums = [sum(chosen) for chosen in itertools.combinations(midranks, len(a))]
    above, below = (sum(sign * total >= sign * observed for total in sums) for sign in (1, -1))
    return min(1.0, 2 * min(above, below) / len(sums))


@pytest.mark.parametrize("seed", range(30))
def test_ties_and_lost_runs_against_a_slow_twin(seed: int) -> None:
    generator = np.random.default_rng(seed)
    m, n = generator.integers(3, 7, size=2)
    a, b = ([-INF if value < 1 else value for value in generator.integers(0, 6, size).tolist()] for size in (m, n))
    if not (-INF in a or -INF in b):
        a[0] = -INF
    found = compared(a, b)
    assert found.method == "ranks"
    assert found.p == found.permutation_p == pytest.approx(slow_rank_p(a, b))
    assert found.lost == (a.count(-INF), b.count(-INF))
    assert found.superiority == pytest.approx(
        np.mean([0.5 * (x == y) + (x > y) for x in a for y in b]),
    )


@pytest.mark.parametrize(("m", "n"), [(4, 4), (3, 5), (5, 5), (10, 10), (6, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_the_shifts_that_the_test_does_not_refuse(m: int, n: int, seed: int) -> None:
    """A slow inversion: between any two neighbouring differences lies a shift at which scipy's test is asked."""
    generator = np.random.default_rng(seed)
    a, b = generator.normal(1, size=m), generator.normal(size=n)
    interval = ranks.shift_interval(samples(a, b))
    assert interval is not None
    steps = np.sort(np.subtract.outer(a, b), axis=None)
    for shift in [steps[0] - 1, *((steps[1:] + steps[:-1]) / 2), steps[-1] + 1]:
        kept = stats.mannwhitneyu(a - shift, b, alternative="two-sided", method="exact").pvalue > 0.05
        assert kept == (interval[0] < shift < interval[1])
    assert set(interval) <= set(steps)


@pytest.mark.parametrize(("m", "n", "allowed"), [(3, 3, False), (3, 4, False), (3, 5, True), (4, 4, True)])
def test_sizes_that_allow_no_interval(m: int, n: int, allowed: bool) -> None:
    """2 / C(m + n, m) > 5 % leaves nothing to trim."""
    found = compared([*range(1, m), -INF], range(n))
    assert (found.interval is not None) == allowed
    assert found.p is not None
    assert found.smallest_p == 2 / math.comb(m + n, m)
    assert (found.smallest_p <= 0.05) == allowed


def test_the_shift_is_the_median_of_all_differences() -> None:
    generator = np.random.default_rng(0)
    for m, n in ((3, 3), (4, 5), (4, 4)):
        a, b = generator.normal(size=m), generator.normal(size=n)
        assert ranks.shift(samples(a, b)) == pytest.approx(np.median([x - y for x in a for y in b]))


def test_one_lost_run_of_five() -> None:
    found = compared([0.9, 0.91, 0.92, 0.93, -INF], [0.8, 0.81, 0.82, 0.83, 0.84])
    assert (found.method, found.n, found.paired, found.lost) == ("ranks", (5, 5), False, (1, 0))
    assert found.superiority == 20 / 25
    assert found.estimate == pytest.approx(0.09)
    # Trimmed by k = 3: the five differences of the lost run are the smallest, so there is no lower bound.
    assert found.interval == Interval(-INF, pytest.approx(0.12))
    assert found.p == pytest.approx(2 * 19 / 252)  # U = 5 of 25: 19 of 252 arrangements have U <= 5
    assert found.effect_size is None


def test_a_lost_run_counts_though_its_seed_has_no_partner() -> None:
    """Three pairs alone would be a paired t, and the fourth run would be gone."""
    found = difference(sample([1.0, 2.0, 3.0]), sample([1.1, 2.1, 2.9, INF]))
    assert (found.method, found.n, found.lost) == ("ranks", (3, 4), (0, 1))


def test_half_of_the_runs_lost_leave_no_number() -> None:
    found = compared([1.0, 2.0, -INF, -INF, -INF], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.estimate is None
    assert found.superiority == pytest.approx((0.5 + 1.5) / 25)
    assert found.interval is not None
    assert found.interval.low == -INF


def test_all_runs_of_one_lost() -> None:
    found = compared([-INF] * 4, [0.5, 0.6, 0.7, 0.8])
    assert (found.estimate, found.superiority) == (None, 0)
    assert found.interval == Interval(-INF, -INF)
    assert found.p == found.smallest_p == pytest.approx(2 / 70)


@pytest.mark.parametrize("worst", [-INF, INF])
def test_all_runs_of_both_lost(worst: float) -> None:
    found = compared([worst] * 4, [worst] * 5)
    assert (found.estimate, found.interval, found.p, found.superiority) == (None, None, 1, 0.5)
    assert found.lost == (4, 5)


def test_a_ratio_with_a_run_that_never_ended() -> None:
    a, b = [100.0, 110.0, 120.0, INF, 130.0], [200.0, 210.0, 220.0, 230.0, 240.0]
    found = ratio(sample(a), sample(b))
    assert (found.method, found.is_ratio, found.lost) == ("ranks", True, (1, 0))
    assert found.estimate == pytest.approx(np.median([x / y for x in a for y in b]))
    assert found.interval is not None
    assert found.interval.high == INF
    assert 0 < found.interval.low < found.estimate
    lowest = ratio(sample([-INF, 1, 2, 3]), sample([1.1, 2.1, 3.1, 4.1]))  # lost where more is better
    assert lowest.interval is not None
    assert lowest.interval.low == 0


def test_large_samples_go_over_to_the_normal_law(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    both = samples(generator.normal(0.3, size=48), generator.normal(size=50).round(1))
    exact, exact_interval = ranks.rank_test(both)[0], ranks.shift_interval(both)
    monkeypatch.setattr(ranks, "MOST_COUNTED", 0)
    ranks._trimmed.cache_clear()
    try:
        expected = stats.mannwhitneyu(both.a, both.b, alternative="two-sided", method="asymptotic")
        assert ranks.rank_test(both)[0] == pytest.approx(expected.pvalue)
        assert ranks.rank_test(both)[0] == pytest.approx(exact, rel=0.05)
        assert ranks.shift_interval(both) == pytest.approx(exact_interval, abs=0.02)
        assert ranks.rank_test(samples([1.0] * 5, [1.0] * 4))[0] == 1
    finally:
        ranks._trimmed.cache_clear()
