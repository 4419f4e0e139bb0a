"""Hedges' g, and the number of seeds that would settle a question, against published figures and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nnopt.compare.statistics.difference import Difference, difference, ratio
from nnopt.compare.statistics.effect import small_sample_factor
from nnopt.compare.statistics.power import seeds_needed, t_power


def with_moments(n: int, mean: float, sd: float, first: int = 0, seed: int = 0) -> dict[int, float]:
    """A sample of exactly this mean and standard deviation."""
    values = np.random.default_rng(seed).normal(size=n)
    values = (values - values.mean()) / values.std(ddof=1)
    return {first + place: float(mean + sd * value) for place, value in enumerate(values)}


def test_hedges_g_of_a_textbook_example() -> None:
    """Borenstein et al. (2009), Introduction to Meta-Analysis, ch. 4: d = 0.5970, J = 0.9923, g = 0.5924.

    They take J as 1 - 3/(4·98 - 1); the exact factor differs in the sixth digit.
    """
    a, b = with_moments(50, 103, 5.5), with_moments(50, 100, 4.5, first=50, seed=1)
    assert small_sample_factor(98) == pytest.approx(0.9923, abs=5e-5)
    assert difference(a, b).effect_size == pytest.approx(0.5924, abs=5e-5)


@pytest.mark.parametrize("degrees", [2, 4, 8, 18, 100])
def test_the_small_sample_factor(degrees: int) -> None:
    """The exact J takes the bias off: E(g) of the noncentral t is the true effect (Hedges 1981)."""
    m = degrees / 2 + 1
    effect = 0.8
    noncentrality = effect * math.sqrt(m / 2)
    mean_d = stats.nct.mean(degrees, noncentrality) / math.sqrt(m / 2)
    assert small_sample_factor(degrees) * mean_d == pytest.approx(effect)


def test_the_effect_of_pairs_is_measured_by_the_spread_of_the_samples() -> None:
    a, b = with_moments(8, 1, 2), with_moments(8, 0, 1, seed=4)
    shifted = {seed + 8: value for seed, value in b.items()}
    assert difference(a, b).effect_size == pytest.approx(difference(a, shifted).effect_size)
    assert difference(a, b).effect_size == pytest.approx(small_sample_factor(14) / math.sqrt(2.5))


@pytest.mark.parametrize("level", [0.05, 0.0125, 0.001])
@pytest.mark.parametrize("degrees", [2, 2.3, 4, 18, 120, 999])
@pytest.mark.parametrize("noncentrality", [0.01, 0.5, 1, 2.8, 3.9, 5])
def test_power_against_scipy(level: float, degrees: float, noncentrality: float) -> None:
    threshold = stats.t.isf(level / 2, degrees)
    law = stats.nct(degrees, noncentrality)
    expected = law.sf(threshold) + (law.cdf(-threshold) if noncentrality < 4 else 0)
    assert t_power(noncentrality, degrees, level) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("degrees", [2, 4, 30, 500, 999])
@pytest.mark.parametrize("level", [0.05, 0.001])
def test_power_far_out_stays_a_probability_and_grows(level: float, degrees: float) -> None:
    """The series of the noncentral t fails at some arguments (NaN at 37 with 500 degrees of freedom)."""
    powers = [t_power(float(noncentrality), degrees, level) for noncentrality in np.geomspace(0.01, 1e9, 300)]
    assert all(0 <= power <= 1 + 1e-12 for power in powers)
    assert np.all(np.diff(powers) > -1e-8)
    assert powers[-1] == pytest.approx(1)


@pytest.mark.parametrize(("effect", "expected"), [(0.2, 394), (0.5, 64), (0.8, 26)])
def test_runs_of_each_of_two_groups(effect: float, expected: int) -> None:
    """Cohen (1992), A power primer, table 2: 393, 64 and 26 at 80 % (0.2 takes 394 when not rounded down)."""
    a, b = with_moments(6, effect, 1), with_moments(6, 0, 1, first=6, seed=1)
    assert seeds_needed(difference(a, b), a, b) == expected


@pytest.mark.parametrize(("effect", "expected"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_pairs(effect: float, expected: int) -> None:
    """As G*Power and R's `power.t.test(type = "paired")` give: 199, 34 and 15 pairs at 80 %."""
    b = {seed: 10.0 * seed for seed in range(6)}
    a = {seed: b[seed] + value for seed, value in with_moments(6, effect, 1).items()}
    assert seeds_needed(difference(a, b), a, b) == expected


def test_the_number_is_the_smallest_that_is_enough() -> None:
    """Against scipy's noncentral t, group sizes and variances unequal, several comparisons."""
    a, b = with_moments(4, 1.3, 2), with_moments(7, 0, 1, first=10, seed=1)
    found = seeds_needed(difference(a, b), a, b, comparisons=4)
    assert found is not None
    powers = []
    for n in (found - 1, found):
        degrees = (n - 1) * (4 + 1) ** 2 / (16 + 1)
        powers.append(stats.nct.sf(stats.t.isf(0.0125 / 2, degrees), degrees, 1.3 / math.sqrt(5 / n)))
    assert powers[0] < 0.8 <= powers[1]


def test_more_comparisons_and_more_power_need_more_seeds() -> None:
    a, b = with_moments(5, 0.7, 1), with_moments(5, 0, 1, seed=1)
    found = difference(a, b)
    needed = [seeds_needed(found, a, b, comparisons, power) for comparisons, power in ((1, 0.8), (5, 0.8), (5, 0.95))]
    assert None not in needed
    assert needed == sorted(set(needed), key=lambda n: n or 0)


def test_a_ratio_is_counted_on_logarithms() -> None:
    a, b = with_moments(6, 0.5, 1), with_moments(6, 0, 1, first=6, seed=1)
    exp_a, exp_b = ({seed: math.exp(value) for seed, value in values.items()} for values in (a, b))
    assert seeds_needed(ratio(exp_a, exp_b), exp_a, exp_b) == 64


def ranked(superiority: float) -> Difference:
    return Difference("ranks", (5, 5), False, False, None, None, 0.2, 0.2, 2 / 252, None, superiority, (1, 0))


@pytest.mark.parametrize(("superiority", "expected"), [(0.7, 33), (0.3, 33), (0.6, 131), (0.75, 21)])
def test_ranks(superiority: float, expected: int) -> None:
    """Noether (1987): N = (z + z)² / (12·c·(1 - c)·(p - 1/2)²) in all, with c = 1/2; 7.849 is (1.95996 + 0.84162)²."""
    assert expected == math.ceil(7.8489 / (6 * (superiority - 0.5) ** 2))
    assert seeds_needed(ranked(superiority), {0: 1.0}, {0: 1.0}) == expected


def test_ranks_need_at_least_what_the_exact_test_needs() -> None:
    """At 0.05/500 even a full separation takes 9 against 9: 2 / C(18, 9) = 0.00004, and 2 / C(16, 8) = 0.00016.

    Noether's formula alone would be content with 2 of each at so low a power.
    """
    assert seeds_needed(ranked(1.0), {0: 1.0}, {0: 1.0}, comparisons=500, power=0.01) == 9


def test_where_nothing_can_be_said() -> None:
    a, b = {0: 1.0, 1: 2.0}, {0: 1.5, 1: 3.0}
    assert seeds_needed(difference(a, b), a, b) is None  # an anecdote
    same = {0: 0.5, 1: 0.5, 2: 0.5}
    assert seeds_needed(difference(same, same), same, same) is None
    assert seeds_needed(ranked(0.5), a, b) is None
    tiny, base = with_moments(5, 0.01, 1), with_moments(5, 0, 1, first=9, seed=1)
    assert seeds_needed(difference(tiny, base), tiny, base) is None  # beyond 1000
    assert seeds_needed(difference(tiny, base), tiny, base, most=200_000) == pytest.approx(2 * 7.849 / 0.0001, rel=1e-3)


def test_a_clear_difference_needs_three() -> None:
    a, b = with_moments(5, 1000, 1), with_moments(5, 0, 1, seed=1)
    assert seeds_needed(difference(a, b), a, b) == 3
