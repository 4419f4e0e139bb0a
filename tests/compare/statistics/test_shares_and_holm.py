"""Success rates, Fisher's exact test and Holm's correction, against scipy and textbooks."""

from __future__ import annotations

import itertools

import pytest
from scipy import stats

from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.holm import holm
from nnopt.compare.statistics.proportion import fisher_more, success_rate


@pytest.mark.parametrize(("k", "n"), [(0, 3), (3, 3), (1, 5), (5, 10), (9, 10), (100, 1000), (1000, 1000)])
def test_success_rates_against_scipy(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    found = success_rate(k, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_success_rate_as_r_prints_it() -> None:
    """`binom.test(682, 925)`, Mendel's peas in R's manual (Conover 1971): 0.7076683 to 0.7654066."""
    found = success_rate(682, 925)
    assert (found.low, found.high) == pytest.approx((0.7076683, 0.7654066), abs=5e-8)


def test_no_runs_say_nothing_of_a_rate() -> None:
    assert success_rate(0, 0) == Interval(0, 1)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{k} of {n}"):
        success_rate(k, n)
    with pytest.raises(ValueError, match=f"{k} of {n}"):
        fisher_more(1, 2, k, n)


def test_the_lady_tasting_tea() -> None:
    """Fisher (1935): three of four cups right has the chance 17/70, all four 1/70."""
    assert fisher_more(3, 4, 1, 4) == 17 / 70
    assert fisher_more(4, 4, 0, 4) == 1 / 70


def test_fisher_against_scipy() -> None:
    for n_a, n_b in ((3, 3), (5, 2), (10, 7)):
        for k_a, k_b in itertools.product(range(n_a + 1), range(n_b + 1)):
            table = [[k_a, n_a - k_a], [k_b, n_b - k_b]]
            expected = stats.fisher_exact(table, alternative="greater").pvalue
            assert fisher_more(k_a, n_a, k_b, n_b) == pytest.approx(expected)


def test_fisher_of_empty_groups() -> None:
    assert fisher_more(0, 0, 2, 5) == 1
    assert fisher_more(0, 0, 0, 0) == 1


def test_holm_by_hand() -> None:
    """R: `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")`."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_has_no_p() -> None:
    assert holm([None, 0.04, None, 0.01]) == [None, pytest.approx(0.04), None, pytest.approx(0.02)]
    assert holm([]) == []
    assert holm([None]) == [None]
    assert holm([0.3]) == [0.3]
    assert holm([0.9, 0.8, 0.7]) == [1, 1, 1]


def slow_holm(p_values: list[float], level: float) -> set[int]:
    """What Holm (1979) refuses at a level: step down while the smallest p left is at most level / hypotheses left."""
    left = sorted(range(len(p_values)), key=p_values.__getitem__)
    refused = set()
    while left and p_values[left[0]] <= level / len(left):
        refused.add(left.pop(0))
    return refused


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_holm_decides_as_the_procedure_does(level: float) -> None:
    for p_values in itertools.product((0.001, 0.004, 0.012, 0.024, 0.03, 0.06, 0.5), repeat=4):
        corrected = holm(p_values)
        decided = {place for place, p in enumerate(corrected) if p is not None and p <= level}
        assert decided == slow_holm(list(p_values), level)
