"""Student's and Welch's t against scipy, Student's own data, and the floor that a coarse grid puts under a spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from nnopt.compare.statistics.difference import Interval, difference, ratio
from nnopt.compare.statistics.power import seeds_needed
from nnopt.compare.statistics.samples import grid_step

# Student (1908), "The probable error of a mean": additional hours of sleep of ten patients under two drugs.
SLEEP_1 = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SLEEP_2 = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


def sample(values: Sequence[float], first: int = 0) -> dict[int, float]:
    return {first + seed: float(value) for seed, value in enumerate(values)}


def drawn(seed: int, n: int, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, n)


def test_students_sleep() -> None:
    """Figures as R prints them for `t.test(extra ~ group, sleep, paired = TRUE)`."""
    found = difference(sample(SLEEP_1), sample(SLEEP_2))
    assert (found.method, found.n, found.paired, found.is_ratio) == ("paired t", (10, 10), True, False)
    assert found.estimate == pytest.approx(-1.58)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-7)
    assert found.smallest_p == 2 / 2**10
    # 9 of 10 patients gained and one did not change: only flipping that one leaves the mean where it is.
    assert found.permutation_p == 4 / 2**10


def test_students_sleep_taken_as_two_groups() -> None:
    """Figures as R prints them for `t.test(extra ~ group, sleep)`: t = -1.8608, df = 17.776."""
    found = difference(sample(SLEEP_1), sample(SLEEP_2, first=10))
    assert (found.method, found.paired) == ("Welch t", False)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-7)


@pytest.mark.parametrize("n", [3, 5, 10, 40])
@pytest.mark.parametrize("seed", range(3))
def test_pairs_against_scipy(n: int, seed: int) -> None:
    a, b = drawn(seed, n, 0.3), drawn(seed + 100, n)
    found, expected = difference(sample(a), sample(b)), stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found.estimate == pytest.approx(np.mean(a - b))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.interval == Interval(pytest.approx(interval.low), pytest.approx(interval.high))


@pytest.mark.parametrize(("m", "n"), [(3, 3), (3, 10), (10, 4), (7, 7), (60, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_welch_against_scipy(m: int, n: int, seed: int) -> None:
    a, b = drawn(seed, m, 0.3, 3.0), drawn(seed + 100, n)
    found, expected = difference(sample(a), sample(b, first=1000)), stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.method == "Welch t"
    assert found.n == (m, n)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.interval == Interval(pytest.approx(interval.low), pytest.approx(interval.high))


def test_pairs_are_made_by_seed_and_not_by_place() -> None:
    a, b = {2: 5.0, 0: 1.0, 1: 3.0}, {0: 1.5, 1: 3.2, 2: 5.9}
    assert difference(a, b) == difference(dict(sorted(a.items())), b)
    assert difference(a, b).p == pytest.approx(stats.ttest_rel([1, 3, 5], [1.5, 3.2, 5.9]).pvalue)


def test_the_smaller_samples_seeds_pair_with_the_same_of_the_larger() -> None:
    a, b = sample(drawn(0, 4)), sample(drawn(1, 9))
    found = difference(a, b)
    assert (found.method, found.n) == ("paired t", (4, 4))
    assert found == difference(a, {seed: b[seed] for seed in a})


@pytest.mark.parametrize("first", [1, 3, 5, 50])
def test_seeds_that_do_not_all_pair_are_two_groups(first: int) -> None:
    a, b = drawn(0, 5), drawn(1, 5)
    found = difference(sample(a), sample(b, first))
    assert (found.method, found.n) == ("Welch t", (5, 5))
    assert found.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 2), (2, 50), (50, 1)])
def test_below_three_there_is_a_mean_and_nothing_else(m: int, n: int) -> None:
    found = difference(sample(range(1, m + 1)), sample(range(n)))
    assert (found.method, found.n, found.paired) == ("none", (m, n), False)
    assert found.estimate == (m + 1) / 2 - (n - 1) / 2
    assert (found.interval, found.p, found.permutation_p, found.smallest_p, found.effect_size) == (None,) * 5
    assert found.superiority is not None


def test_nothing_to_compare() -> None:
    found = difference({}, sample([1, 2, 3]))
    assert (found.method, found.n, found.estimate, found.superiority) == ("none", (0, 3), None, None)
    assert difference({0: -math.inf, 1: 2.0}, sample([1, 2, 3])).estimate is None


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="seed 1: NaN is no value"):
        difference({0: 1.0, 1: math.nan, 2: 1.0}, sample([1, 2, 3]))


def test_equal_values_are_no_difference() -> None:
    for first in (0, 10):
        found = difference(sample([0.1] * 5), sample([0.1] * 5, first))
        assert (found.estimate, found.interval, found.p, found.permutation_p) == (0, Interval(0, 0), 1, 1)
        assert (found.effect_size, found.superiority) == (0, 0.5)


def test_equal_pairs_with_a_spread_are_no_difference() -> None:
    found = difference(sample([0.25, 0.5, 1.0]), sample([0.25, 0.5, 1.0]))
    assert (found.estimate, found.p, found.permutation_p) == (0, 1, 1)
    assert found.interval is not None
    # The values lie on a grid of 1/4: t(2) = 4.3027 times (1/4)/√6/√3.
    assert found.interval.high == pytest.approx(4.302653 * 0.25 / math.sqrt(18), rel=1e-6)


def test_a_constant_step_of_the_grid_is_no_certainty() -> None:
    """Three seeds, each one image of 360 better: without the floor, the spread is 0 and p is 0."""
    a, b = (np.array(counts) / 360 for counts in ([350, 346, 355], [349, 345, 354]))
    found = difference(sample(a), sample(b))
    t = math.sqrt(3) * math.sqrt(6)  # one step over its standard error (step/√6)/√3
    assert found.p == pytest.approx(2 * stats.t.sf(t, 2), rel=1e-6)
    assert found.p == pytest.approx(0.0513, abs=1e-4)


def test_two_groups_without_spread_are_no_certainty() -> None:
    found = difference(sample([0.7] * 3), sample([0.5] * 3, first=3))
    # Each sample's sd is the gap's 1/√12, so that the error is 0.2/√18, with 4 degrees of freedom.
    assert found.p == pytest.approx(2 * stats.t.sf(math.sqrt(18), 4), rel=1e-6)
    assert found.permutation_p == pytest.approx(2 / 20)


def test_a_small_difference_of_pairs_far_apart_is_seen() -> None:
    """No grid: the pairs' own spread counts, though every gap in the values is as wide as their difference."""
    a = np.array([0.91234567, 0.95012121, 0.97043131])
    found = difference(sample(a), sample(a - [0.00301, 0.00299, 0.003]))
    expected = stats.ttest_rel(a, a - [0.00301, 0.00299, 0.003]).pvalue
    assert found.p == pytest.approx(expected, rel=0.05)
    assert found.p is not None
    assert found.p < 1e-5


@pytest.mark.parametrize("total", [7, 360, 1797, 10_000])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_the_grid_of_shares_is_found(total: int, kind: type) -> None:
    """The greatest common divisor of the gaps, exact for counts (math.gcd), also where shares are float32."""
    generator = np.random.default_rng(total)
    for _ in range(50):
        counts = np.unique(generator.integers(max(0, total - 60), total + 1, size=6))
        if len(counts) > 1:
            expected = math.gcd(*np.diff(counts).tolist()) / total
            assert grid_step((counts / total).astype(kind).astype(np.float64)) == pytest.approx(expected, rel=2e-2)


def test_the_grid_of_decimals_is_found() -> None:
    assert grid_step(np.array([0.91, 0.93, 0.97])) == pytest.approx(0.02)
    assert grid_step(np.array([0.5, 0.5])) == 0
    assert grid_step(np.array([])) == 0
    # 2, 5 and 11 have gaps of 3 and 6: a common step of 3, not the 1 that whole numbers might have.
    assert grid_step(np.array([2.0, 5.0, 11.0])) == Fraction(3)


def test_what_lies_on_no_grid_has_a_step_that_no_spread_notices() -> None:
    for seed in range(200):
        values = drawn(seed, 6, 0.9, 0.01)
        assert 0 < grid_step(values) < 0.05 * np.std(values)


def test_a_ratio_is_the_difference_of_logarithms() -> None:
    a, b = np.exp(drawn(0, 6)), np.exp(drawn(1, 6, 0.5))
    for first in (0, 6):
        found, logs = ratio(sample(a), sample(b, first)), difference(sample(np.log(a)), sample(np.log(b), first))
        assert found.is_ratio
        assert found.method == logs.method
        assert found.estimate == pytest.approx(math.exp(logs.estimate or 0))
        assert found.estimate == pytest.approx(stats.gmean(a) / stats.gmean(b))
        assert found.interval is not None
        assert logs.interval is not None
        assert found.interval.low == pytest.approx(math.exp(logs.interval.low))
        assert found.interval.high == pytest.approx(math.exp(logs.interval.high))
        assert found.p == pytest.approx(logs.p)
        assert found.effect_size == pytest.approx(logs.effect_size)


def test_a_ratio_of_times_on_the_grid_of_evaluations_has_a_floor() -> None:
    """All reach the target at step 100 and 200: known to a grid of 100, so the ratio is not certain."""
    found = ratio(sample([100.0] * 3), sample([200.0] * 3))
    reach = 4.302653 * math.log(1 + 100 / math.sqrt(100 * 200)) / math.sqrt(6) / math.sqrt(3)
    assert found.estimate == pytest.approx(0.5)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(0.5 * math.exp(-reach))
    assert found.interval.high == pytest.approx(0.5 * math.exp(reach))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_ratio_needs_positive_values(value: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio(sample([1, 2, value]), sample([1, 2, 3]))


def test_a_ratio_beyond_all_numbers_has_no_upper_end() -> None:
    found = ratio({0: 1e-150, 1: 1e150, 2: 1e-150}, {0: 1e150, 1: 1e-150, 2: 1e150})
    assert found.interval == Interval(0.0, math.inf)


@pytest.mark.parametrize("unit", [2.0**1000, 2.0**-1000])
@pytest.mark.parametrize("first", [0, 5])
def test_values_whose_squares_are_no_floats(unit: float, first: int) -> None:
    """A perplexity may be 1e300."""
    a, b = drawn(0, 5, 0.5), drawn(1, 5)
    plain = difference(sample(a), sample(b, first))
    found = difference(sample(a * unit), sample(b * unit, first))
    assert found.p == pytest.approx(plain.p)
    assert found.permutation_p == plain.permutation_p
    assert found.estimate == pytest.approx((plain.estimate or 0) * unit, rel=1e-9, abs=0)
    assert found.interval is not None
    assert plain.interval is not None
    assert found.interval.high == pytest.approx(plain.interval.high * unit, rel=1e-9, abs=0)
    assert seeds_needed(found, sample(a * unit), sample(b * unit, first)) == seeds_needed(
        plain, sample(a), sample(b, first)
    )


@pytest.mark.parametrize("unit", [2.0**1000, 2.0**-1000])
def test_a_ratio_knows_no_unit(unit: float) -> None:
    a, b = np.exp(drawn(0, 5, 0.5)), np.exp(drawn(1, 5))
    plain, found = ratio(sample(a), sample(b)), ratio(sample(a * unit), sample(b * unit))
    assert found.p == pytest.approx(plain.p)
    assert found.estimate == pytest.approx(plain.estimate)
