from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from drawn_times import GOAL, Setting, group, rates, seen
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.statistics.difference import Interval, ratio
from nnopt.compare.statistics.survival import Watched, kaplan_meier, logrank
from nnopt.compare.target import Target, TimeToTarget
from nnopt.compare.time_ratio import TimeRatio, time_ratio

EXAMPLES = settings(max_examples=60, derandomize=True)
# Evaluations at 1, 2, ... 9; a moment of None was not seen by the end, inf is a run that diverged.
MOMENTS = st.one_of(st.none(), st.just(math.inf), st.integers(1, 9))
END = 9.0


def on_grid(moments: list[float | None], width: float = 1.0, first_seed: int = 0) -> TimeToTarget:
    """Runs that were seen to be there at these evaluations, the one before being `width` earlier."""
    end = np.array([END if moment is None or math.isfinite(moment) else math.inf for moment in moments])
    reached = np.array([moment is not None and math.isfinite(moment) for moment in moments], bool)
    high = np.array([at if moment is None else moment for moment, at in zip(moments, end, strict=True)], float)
    return group(np.where(reached, high - width, high), high, reached, end, first_seed)


def compare(a: TimeToTarget, b: TimeToTarget) -> TimeRatio:
    return time_ratio(a, b, "steps")


def runs(most: int = 6, least: int = 3, moments: st.SearchStrategy[float | None] = MOMENTS) -> st.SearchStrategy:
    return st.lists(moments, min_size=least, max_size=most).map(on_grid)


class TestAllThere:
    def test_is_the_ratio_of_geometric_means_where_moments_are_known(self) -> None:
        a, b = [3.0, 4.0, 5.0, 4.5, 3.5], [6.0, 9.0, 8.0, 7.0, 9.5]
        found = compare(on_grid(a, 0.0), on_grid(b, 0.0))
        expected = ratio(dict(enumerate(a)), dict(enumerate(b)))
        assert expected.interval is not None
        assert found.method == "paired t on logs"
        assert (found.n, found.reached, found.exact, found.smallest_p) == ((5, 5), (5, 5), False, None)
        assert (found.ratio, found.p) == (pytest.approx(expected.estimate), pytest.approx(expected.p))
        assert found.interval is not None
        assert found.interval.low == pytest.approx(expected.interval.low)
        assert found.interval.high == pytest.approx(expected.interval.high)

    def test_of_other_seeds_is_welchs(self) -> None:
        found = compare(on_grid([3, 4, 5], 0.0), on_grid([6, 7, 9, 8], 0.0, first_seed=10))
        assert (found.method, found.n) == ("Welch t on logs", (3, 4))

    def test_has_an_interval_as_wide_as_the_grid_though_all_runs_agree(self) -> None:
        """All at evaluation 4 against all at 8: anything from 3/8 to 4/7, as far as anybody can know."""
        found = compare(on_grid([4] * 5), on_grid([8] * 5))
        assert found.ratio == pytest.approx(0.5)
        assert found.interval is not None
        assert found.interval.low <= 3 / 8
        assert 4 / 7 <= found.interval.high < 1

    def test_has_a_p_of_1_where_the_grid_alone_could_make_the_difference(self) -> None:
        """All at evaluation 4 against all at 5 may both have got there at 4."""
        assert compare(on_grid([4] * 5), on_grid([5] * 5)).p == 1
        assert compare(on_grid([4] * 5, 0.0), on_grid([5] * 5, 0.0)).p < 0.05  # type: ignore[operator]

    def test_on_different_grids_is_not_taken_in_by_the_coarser(self) -> None:
        """Equal moments, one group looked at ten times as often: recorded, the other takes 1.5 times as long."""
        moments = np.array([2.1, 2.2, 2.3, 2.4, 2.25])
        found = compare(seen(moments, 0.1), seen(moments, 3.0))
        assert found.ratio == pytest.approx(0.75, abs=0.02)
        assert found.p == 1
        assert found.interval is not None
        assert found.interval.low < 1 < found.interval.high

    def test_has_no_bound_towards_a_first_evaluation(self) -> None:
        faster = compare(on_grid([1, 1, 2, 2, 1]), on_grid([8, 9, 8, 9, 9]))
        assert faster.interval is not None
        assert faster.interval.low == 0
        assert 0.1 < faster.interval.high < 0.5
        assert faster.p is not None
        assert faster.p < 0.05  # the corner nearest to 1 has no zero in it
        slower = compare(on_grid([8, 9, 8, 9, 9]), on_grid([1, 1, 2, 2, 1]))
        assert slower.interval is not None
        assert (slower.interval.high, slower.p) == (math.inf, faster.p)
        both = compare(on_grid([1] * 5), on_grid([1] * 5))
        assert (both.ratio, both.interval, both.p) == (1, Interval(0, math.inf), 1)

    def test_before_training_goes_by_ranks(self) -> None:
        """Moments of 0 have no logarithm."""
        found = compare(on_grid([0, 0, 0, 1, 0], 0.0), on_grid([5, 6, 7, 8, 9], 0.0))
        assert (found.method, found.ratio, found.reached) == ("log-rank", 0, (5, 5))
        assert found.p == pytest.approx(2 / 252)
        assert compare(on_grid([5, 6, 7], 0.0), on_grid([0, 0, 0], 0.0)).ratio is None


class TestMisses:
    A = (3.0, 4.0, 2.0, 5.0, 4.0)
    B = (6.0, None, 7.0, math.inf, 5.0)

    def test_is_the_ratio_of_medians_and_the_exact_log_rank_test(self) -> None:
        a, b = on_grid(list(self.A), 0.0), on_grid(list(self.B), 0.0)
        found = compare(a, b)
        assert (found.method, found.n, found.reached, found.exact) == ("log-rank", (5, 5), (5, 3), True)
        assert found.ratio == pytest.approx(4 / 7)
        watched = [Watched.of(g.axes["steps"].times.high, g.axes["steps"].times.reached, END) for g in (a, b)]
        test = logrank(*watched)
        assert (found.p, found.smallest_p) == (pytest.approx(test.p), pytest.approx(test.smallest_p))
        assert found.p < 0.05
        assert found.interval is not None
        assert found.interval.low < 4 / 7 < found.interval.high <= 1

    def test_has_no_ratio_where_one_has_no_median(self) -> None:
        found = compare(on_grid([3, 4, 2, 5, 4]), on_grid([None, None, 8, None, None]))
        assert found.ratio is None
        assert found.interval is not None
        assert found.interval.low == 0
        assert found.interval.high < 1
        assert found.p is not None
        assert found.p < 0.05

    def test_counts_runs_that_diverged_against_their_group(self) -> None:
        fine, lost = on_grid([3, 4, 5, 4, 3]), on_grid([3, math.inf, math.inf, math.inf, math.inf])
        found = compare(fine, lost)
        assert (found.reached, found.ratio) == ((5, 1), None)
        assert found.p == pytest.approx(12 / 252)
        sure = compare(on_grid([3, 4, 5, 4, 3], 0.0), on_grid([math.inf] * 5, 0.0))
        assert sure.p == pytest.approx(2 / 252)

    def test_where_nothing_is_there_to_be_seen_has_nothing_to_say(self) -> None:
        found = compare(on_grid([None] * 5), on_grid([math.inf] * 5))
        assert (found.ratio, found.interval, found.p, found.reached) == (None, None, 1, (0, 0))

    def test_says_the_smallest_p_that_three_seeds_allow(self) -> None:
        found = compare(on_grid([2, 3, 4]), on_grid([8, 9, None]))
        assert (found.interval, found.smallest_p, found.exact) == (None, pytest.approx(0.1), True)
        assert found.p == pytest.approx(0.1)


@pytest.mark.parametrize("moments", [[5, 6], [5, None], [5]])
def test_of_fewer_than_three_runs_is_no_more_than_a_ratio(moments: list[float | None]) -> None:
    found = compare(on_grid([2, 3, 2]), on_grid(moments))
    assert (found.method, found.n, found.interval, found.p) == ("none", (3, len(moments)), None, None)
    assert found.ratio == pytest.approx(
        2 / 5 if None in moments else 12 ** (1 / 3) / math.prod(moments) ** (1 / len(moments))
    )  # type: ignore[type-var]


def test_of_no_runs_has_nothing() -> None:
    found = compare(on_grid([2, 3, 2]), on_grid([]))
    assert (found.method, found.ratio, found.interval, found.p) == ("none", None, None, None)


def test_to_different_targets_is_refused() -> None:
    a = on_grid([2, 3, 4])
    with pytest.raises(ValueError, match="do not compare"):
        compare(a, replace(a, target=Target(GOAL.metric, 0.5)))


def close(one: float | None, two: float | None) -> bool:
    return one == two or (one is not None and two is not None and math.isclose(one, two, rel_tol=1e-9))


@EXAMPLES
@given(runs(), runs())
def test_turned_round_is_the_reciprocal(a: TimeToTarget, b: TimeToTarget) -> None:
    found, turned = compare(a, b), compare(b, a)
    assert (found.method, found.exact) == (turned.method, turned.exact)
    assert close(found.p, turned.p)
    assert close(found.smallest_p, turned.smallest_p)
    assert close(found.ratio, turned.ratio and 1 / turned.ratio)
    assert (found.interval is None) == (turned.interval is None)
    if found.interval and turned.interval:
        assert close(found.interval.low, 1 / turned.interval.high)
        assert close(found.interval.high, 1 / turned.interval.low if turned.interval.low else math.inf)


@EXAMPLES
@given(runs(), runs())
def test_lies_in_its_interval_with_all_that_the_grid_allows(a: TimeToTarget, b: TimeToTarget) -> None:
    found = compare(a, b)
    if found.interval is None:
        return
    one, two = a.axes["steps"].times, b.axes["steps"].times
    low, high = found.interval.low * (1 - 1e-9), found.interval.high * (1 + 1e-9)
    assert found.ratio is None or low <= found.ratio <= high
    for first, second in ((one.low, two.high), (one.high, two.low)):
        if found.method == "log-rank":
            medians = [kaplan_meier(t, g.reached).median for t, g in ((first, one), (second, two))]
            if medians[0] is not None and medians[1]:
                assert low <= medians[0] / medians[1] <= high
        elif min(first) > 0 and min(second) > 0 and found.method.startswith("Welch"):
            assert low <= math.exp(np.log(first).mean() - np.log(second).mean()) <= high


@EXAMPLES
@given(runs(), runs())
def test_p_and_interval_agree(a: TimeToTarget, b: TimeToTarget) -> None:
    found = compare(a, b)
    assert found.p is not None
    if found.interval is None:
        assert found.p > 0.05
    elif found.p > 0.05:
        assert found.interval.low <= 1 + 1e-9
        assert found.interval.high >= 1 - 1e-9
    else:
        assert found.interval.low >= 1 - 1e-9 or found.interval.high <= 1 + 1e-9


def scaled(found: TimeToTarget, unit: float) -> TimeToTarget:
    axis = found.axes["steps"]
    sides = {name: tuple(unit * t for t in getattr(axis.times, name)) for name in ("low", "high", "end")}
    return replace(found, axes={"steps": replace(axis, times=replace(axis.times, **sides))})


@EXAMPLES
@given(runs(), runs(), st.floats(1e-3, 1e3))
def test_does_not_depend_on_the_unit(a: TimeToTarget, b: TimeToTarget, unit: float) -> None:
    found, other = compare(a, b), compare(scaled(a, unit), scaled(b, unit))
    assert close(found.ratio, other.ratio)
    assert close(found.p, other.p)
    assert (found.interval is None) == (other.interval is None)
    if found.interval and other.interval:
        assert close(found.interval.low, other.interval.low)
        assert close(found.interval.high, other.interval.high)


@EXAMPLES
@given(runs(moments=st.integers(2, 9)), runs(moments=st.integers(2, 9)))
def test_is_no_surer_when_evaluations_are_rarer(a: TimeToTarget, b: TimeToTarget) -> None:
    def known(found: TimeToTarget) -> TimeToTarget:
        axis = found.axes["steps"]
        return replace(found, axes={"steps": replace(axis, times=replace(axis.times, low=axis.times.high))})

    coarse, exact = compare(a, b), compare(known(a), known(b))
    assert coarse.interval is not None
    assert exact.interval is not None
    assert coarse.interval.low <= exact.interval.low
    assert exact.interval.high <= coarse.interval.high
    assert coarse.p >= exact.p  # type: ignore[operator]


# The settings of docs/statistics.md, with fewer experiments; tests/benchmarks/time_to_target.py draws 5,000 of each.
@pytest.mark.parametrize(
    ("setting", "count"),
    [
        (Setting(3, (0.01, 0.01)), 600),
        (Setting(5, (0.01, 0.01)), 600),
        (Setting(10, (0.01, 0.01), shared_seeds=False), 400),
        (Setting(5, (0.1, 0.1)), 300),
        (Setting(5, (0.01, 0.3), shared_seeds=False), 300),
        (Setting(5, (0.01, 0.01), missed=0.3, shared_seeds=False), 300),
        (Setting(10, (0.01, 0.01), missed=0.3, shared_seeds=False), 40),
        (Setting(5, (0.1, 0.1), missed=0.3, diverge=True, shared_seeds=False), 200),
    ],
    ids=str,
)
def test_in_drawn_experiments_holds_the_truth_and_raises_few_false_alarms(setting: Setting, count: int) -> None:
    for factor in (1.0, 0.6):
        found = rates(setting, factor, count)
        assert found.covered >= 0.94 - 2 * math.sqrt(0.94 * 0.06 / count)
        if factor == 1.0:
            assert found.alarms <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / count)


def test_finds_a_large_difference_and_would_not_cover_another() -> None:
    """The simulation can fail: with the wrong truth coverage is low, and a true difference is found."""
    setting = Setting(10, (0.01, 0.01), shared_seeds=False)
    assert rates(setting, 0.6, 100).alarms > 0.95
    missed = Setting(10, (0.01, 0.01), missed=0.3, shared_seeds=False)
    assert rates(missed, 0.6, 50).alarms > 0.9
