"""What holds of every difference, whatever the values: hypothesis draws them, always the same."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.statistics.difference import Difference, Interval, difference, ratio
from nnopt.compare.statistics.holm import holm

INF = math.inf
Sample = dict[int, float]

steady = settings(derandomize=True, deadline=None, max_examples=100)

# Whole numbers up to 20 tie often; floats hardly ever.
coarse = st.integers(-20, 20).map(float)
fine = st.floats(-100, 100).map(lambda value: round(value, 6))
lost = st.just(-INF)


def samples_of(values: st.SearchStrategy[float], least: int = 0) -> st.SearchStrategy[Sample]:
    """Seeds that are the first n, as experiments have them, or scattered ones that pair with few others."""
    first = st.lists(values, min_size=least, max_size=8).map(lambda drawn: dict(enumerate(drawn)))
    return st.one_of(first, st.dictionaries(st.integers(0, 30), values, min_size=least, max_size=8))


any_sample = samples_of(st.one_of(coarse, fine, lost))
close = {"rel": 1e-9, "abs": 1e-9}


def same(one: float | None, other: float | None) -> bool:
    return (one is None) == (other is None) and (one is None or one == pytest.approx(other, **close))


def same_interval(one: Interval | None, other: Interval | None) -> bool:
    if one is None or other is None:
        return one is other
    return same(one.low, other.low) and same(one.high, other.high)


def turned(found: Difference) -> Difference:
    """What the difference of b and a has to be, given that of a and b."""

    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    ends = found.interval
    return replace(
        found,
        n=found.n[::-1],
        lost=found.lost[::-1],
        estimate=minus(found.estimate),
        effect_size=minus(found.effect_size),
        interval=None if ends is None else Interval(-ends.high, -ends.low),
        superiority=None if found.superiority is None else 1 - found.superiority,
    )


def assert_same(one: Difference, other: Difference) -> None:
    numbers = ("estimate", "p", "permutation_p", "smallest_p", "effect_size", "superiority")
    for name in numbers:
        assert same(getattr(one, name), getattr(other, name)), name
    assert same_interval(one.interval, other.interval)
    blank = dict.fromkeys(numbers) | {"interval": None}
    assert replace(one, **blank) == replace(other, **blank)


@steady
@given(any_sample, any_sample)
def test_the_other_way_round_everything_turns_round(a: Sample, b: Sample) -> None:
    assert_same(difference(b, a), turned(difference(a, b)))


@steady
@given(any_sample, any_sample)
def test_numbers_stay_in_their_bounds(a: Sample, b: Sample) -> None:
    found = difference(a, b)
    if found.superiority is not None:
        assert 0 <= found.superiority <= 1
    for p in (found.p, found.permutation_p):
        assert p is None or 0 < p <= 1
    if found.permutation_p is not None and found.smallest_p is not None:
        assert found.permutation_p >= found.smallest_p - 1e-12
    if found.estimate is not None and found.interval is not None:
        assert found.interval.low <= found.estimate <= found.interval.high
    if found.interval is not None:
        assert found.interval.low <= found.interval.high
    assert found.lost == tuple(sum(map(math.isinf, sample.values())) for sample in (a, b))
    assert (found.method == "none") == (min(len(a), len(b)) < 3)
    assert (found.method == "ranks") == (any(found.lost) and found.method != "none")


@steady
@given(samples_of(coarse, least=3), samples_of(coarse, least=3))
def test_p_and_interval_agree(a: Sample, b: Sample) -> None:
    found = difference(a, b)
    assert found.p is not None
    assert found.interval is not None
    if abs(found.p - 0.05) > 1e-9:
        assert (found.p < 0.05) == (found.interval.low > 0 or found.interval.high < 0)


@steady
@given(samples_of(st.one_of(coarse, lost)), samples_of(coarse), st.integers(-40, 40))
def test_a_shift_of_both_changes_nothing(a: Sample, b: Sample, by: int) -> None:
    moved = ({seed: value + by for seed, value in sample.items()} for sample in (a, b))
    assert_same(difference(*moved), difference(a, b))


@steady
@given(samples_of(st.one_of(coarse, lost)), samples_of(coarse), st.integers(-40, 40))
def test_a_shift_of_one_shifts_the_estimate(a: Sample, b: Sample, by: int) -> None:
    """On whole numbers, the grid stays what it is where both already lie on a grid of 1."""
    a, b = a | {100: 1.0, 101: 2.0}, b | {102: 0.0, 103: 1.0}
    moved, found = difference({seed: value + by for seed, value in a.items()}, b), difference(a, b)
    if found.estimate is not None:
        assert same(moved.estimate, found.estimate + by)
    if found.interval is not None:
        assert same_interval(moved.interval, Interval(found.interval.low + by, found.interval.high + by))


@steady
@given(any_sample, any_sample, st.sampled_from([2.0**-20, 0.01, 1 / 3, 7.0, 1e6]))
def test_another_unit_changes_the_numbers_of_that_unit_alone(a: Sample, b: Sample, unit: float) -> None:
    scaled = difference(*({seed: value * unit for seed, value in sample.items()} for sample in (a, b)))
    ends = scaled.interval
    in_old_units = replace(
        scaled,
        estimate=None if scaled.estimate is None else scaled.estimate / unit,
        interval=None if ends is None else Interval(ends.low / unit, ends.high / unit),
    )
    assert_same(in_old_units, difference(a, b))


@steady
@given(samples_of(st.floats(0.01, 100)), samples_of(st.floats(0.01, 100)))
def test_a_ratio_turns_over(a: Sample, b: Sample) -> None:
    one, other = ratio(a, b), ratio(b, a)
    if min(len(a), len(b)) >= 3:
        assert one.estimate is not None
        assert other.estimate is not None
        assert one.estimate * other.estimate == pytest.approx(1)
        assert same(one.p, other.p)


@steady
@given(samples_of(st.one_of(coarse, lost), least=3), samples_of(st.one_of(coarse, lost), least=3))
def test_one_more_lost_run_never_helps(a: Sample, b: Sample) -> None:
    """Where more is better: whatever the new run stands against, a wins no more often."""
    before, after = difference(a, b), difference(a | {200: -INF}, b)
    assert after.method == "ranks"
    assert before.superiority is not None
    assert after.superiority is not None
    assert after.superiority <= before.superiority + 1e-12
    if before.method == "ranks" and before.estimate is not None and after.estimate is not None:
        assert after.estimate <= before.estimate + 1e-12


@steady
@given(samples_of(coarse, least=3), samples_of(st.one_of(coarse, lost), least=3), st.integers(0, 7))
def test_a_run_that_diverges_instead_never_helps(a: Sample, b: Sample, place: int) -> None:
    """The ranks of a fall: so do the shift and both ends, and p falls only where a is the worse one."""
    b = b | {300: -INF}
    seed = sorted(a)[place % len(a)]
    before, after = difference(a, b), difference(a | {seed: -INF}, b)
    assert before.superiority is not None
    assert after.superiority is not None
    assert after.superiority <= before.superiority
    if before.estimate is not None and after.estimate is not None:
        assert after.estimate <= before.estimate
    if before.interval is not None and after.interval is not None:
        assert after.interval.low <= before.interval.low
        assert after.interval.high <= before.interval.high


p_values = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8)


@steady
@given(p_values)
def test_holm_never_lowers_a_p_and_keeps_their_order(ps: list[float | None]) -> None:
    corrected = holm(ps)
    pairs = [(p, q) for p, q in zip(ps, corrected, strict=True) if p is not None and q is not None]
    assert [q is None for q in corrected] == [p is None for p in ps]
    assert all(p <= q <= 1 for p, q in pairs)
    assert all(q <= other for (p, q), (later, other) in itertools.permutations(pairs, 2) if p <= later)


@steady
@given(p_values, st.randoms(use_true_random=False))
def test_holm_does_not_ask_for_the_order(ps: list[float | None], shuffler: random.Random) -> None:
    order = list(range(len(ps)))
    shuffler.shuffle(order)
    corrected = holm(ps)
    assert holm([ps[place] for place in order]) == [corrected[place] for place in order]
