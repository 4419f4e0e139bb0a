"""Performance profiles and geometric means: by hand, against slow twins, and what must hold for any times."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.statistics.geometric import geometric_interval, geometric_mean, mean_interval
from nnopt.compare.statistics.profiles import performance_profiles, profile_score, share_within, time_ratios

# Four tasks, three solvers, with failures; the ratios are worked out below by hand.
TIMES: dict[str, list[float | None]] = {
    "a": [10.0, 30.0, None, 8.0],
    "b": [20.0, 20.0, 50.0, 8.0],
    "c": [15.0, None, 25.0, 80.0],
}


def test_a_small_example_worked_out_by_hand() -> None:
    # Best times 10, 20, 25, 8: a is 1, 1.5, never, 1 times as slow; b is 2, 1, 2, 1; c is 1.5, never, 1, 10.
    assert time_ratios(TIMES) == {
        "a": [1, 1.5, math.inf, 1],
        "b": [2, 1, 2, 1],
        "c": [1.5, math.inf, 1, 10],
    }
    profiles = performance_profiles(TIMES)
    assert profiles == {
        "a": ((1.0, 0.5), (1.5, 0.75)),
        "b": ((1.0, 0.5), (2.0, 1.0)),
        "c": ((1.0, 0.25), (1.5, 0.5), (10.0, 0.75)),
    }
    assert share_within(profiles["b"], 1.99) == 0.5
    assert share_within(profiles["b"], 2.0) == 1.0
    # Over 1 to 4: a is 1/2 for half a unit and 3/4 for the rest; c gains nothing from what it solves at 10.
    assert profile_score(profiles["a"]) == pytest.approx((0.5 * 0.5 + 2.5 * 0.75) / 3)
    assert profile_score(profiles["c"]) == pytest.approx((0.5 * 0.25 + 2.5 * 0.5) / 3)


def test_who_takes_part_changes_the_order_of_the_others() -> None:
    """Gould and Scott, A note on performance profiles for benchmarking software, ACM TOMS 43 (2016)."""
    times: dict[str, list[float | None]] = {"a": [2.0, 2.0, 9.0], "b": [6.0, 6.0, 2.0], "c": [1.0, 1.0, 9.0]}
    both = performance_profiles({name: times[name] for name in "ab"})
    three = performance_profiles(times)
    assert share_within(both["a"], 1.5) > share_within(both["b"], 1.5)
    assert share_within(three["a"], 1.5) < share_within(three["b"], 1.5)


def test_a_task_that_nobody_solves_counts_against_all() -> None:
    profiles = performance_profiles({"a": [1.0, None], "b": [2.0, None]})
    assert profiles == {"a": ((1.0, 0.5),), "b": ((1.0, 0.0), (2.0, 0.5))}


def test_a_best_time_of_zero_leaves_no_factor() -> None:
    assert time_ratios({"a": [0.0, 0.0], "b": [0.0, 3.0]}) == {"a": [1, 1], "b": [1, math.inf]}


def test_nothing_to_compare_gives_nothing() -> None:
    assert performance_profiles({}) == {}


tables = st.integers(1, 6).flatmap(
    lambda tasks: st.dictionaries(
        st.sampled_from("abcde"),
        st.lists(st.one_of(st.none(), st.floats(0.5, 1e6)), min_size=tasks, max_size=tasks),
        min_size=1,
    )
)


@settings(derandomize=True, deadline=None)
@given(tables, st.floats(1, 1e7))
def test_a_profile_is_the_share_of_tasks_counted_one_by_one(times: dict[str, list[float | None]], tau: float) -> None:
    profiles = performance_profiles(times)
    for name, own in times.items():
        within = 0
        for task, time in enumerate(own):
            known = [row[task] for row in times.values() if row[task] is not None]
            if time is not None and time / min(known) <= tau:  # type: ignore[type-var]
                within += 1
        assert share_within(profiles[name], tau) == within / len(own)


@settings(derandomize=True, deadline=None)
@given(tables)
def test_a_profile_rises_from_one_on_and_stays_a_share(times: dict[str, list[float | None]]) -> None:
    for profile in performance_profiles(times).values():
        taus, shares = zip(*profile, strict=True)
        assert taus[0] == 1.0
        assert list(taus) == sorted(set(taus))
        assert list(shares) == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
        assert shares[0] <= profile_score(profile) + 1e-12
        assert profile_score(profile) <= shares[-1] + 1e-12


@settings(derandomize=True, deadline=None)
@given(tables)
def test_names_and_units_do_not_matter(times: dict[str, list[float | None]]) -> None:
    profiles = performance_profiles(times)
    renamed = performance_profiles({name * 2: times[name] for name in reversed(times)})
    assert renamed == {name * 2: profile for name, profile in profiles.items()}
    halved = {name: [None if time is None else time / 2 for time in row] for name, row in times.items()}
    assert performance_profiles(halved) == profiles


@settings(derandomize=True, deadline=None)
@given(tables)
def test_the_score_is_the_area_under_the_profile(times: dict[str, list[float | None]]) -> None:
    grid = np.linspace(1, 4, 30_001)[:-1] + 5e-5
    for profile in performance_profiles(times).values():
        taus, shares = map(np.array, zip(*profile, strict=True))
        area = shares[np.searchsorted(taus, grid, side="right") - 1].mean()
        assert profile_score(profile) == pytest.approx(area, abs=1e-3)


def test_a_geometric_mean_does_not_care_which_side_is_divided() -> None:
    ratios = [1.5, 0.8, 3.0, 2.0]
    assert geometric_mean(ratios) == pytest.approx(scipy.stats.gmean(ratios))
    assert geometric_mean([1 / ratio for ratio in ratios]) == pytest.approx(1 / geometric_mean(ratios))
    interval, inverse = geometric_interval(ratios), geometric_interval([1 / ratio for ratio in ratios])
    assert interval is not None
    assert inverse is not None
    assert (inverse.low, inverse.high) == pytest.approx((1 / interval.high, 1 / interval.low))


def test_the_interval_of_a_mean_is_students() -> None:
    values = [2.1, 1.9, 2.6, 2.2, 2.8]
    error = statistics.stdev(values) / math.sqrt(5)
    expected = scipy.stats.t.interval(0.95, 4, loc=statistics.fmean(values), scale=error)
    found = mean_interval(values)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected)
    assert mean_interval(values[:2]) is None
    floor = mean_interval([1.0, 1.0, 1.0], least_sd=0.3)
    assert floor is not None
    assert floor.high == pytest.approx(1 + scipy.stats.t.ppf(0.975, 2) * 0.3 / math.sqrt(3))
