"""The Pareto set: what must hold for any points."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.statistics.pareto import pareto_front

Points = list[tuple[float, float]]
# Few different numbers, so that ties are common.
points = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), max_size=12)


def dominates(one: tuple[float, float], other: tuple[float, float], higher: bool) -> bool:
    """(quality, cost): at least as good and as cheap, and better in one."""
    sign = 1 if higher else -1
    at_least = sign * one[0] >= sign * other[0] and one[1] <= other[1]
    return at_least and one != other


def front(given: Points, higher: bool) -> list[int]:
    return pareto_front([quality for quality, _ in given], [cost for _, cost in given], higher)


@settings(derandomize=True)
@given(points, st.booleans())
def test_no_member_is_dominated_and_every_other_is_by_a_member(given: Points, higher: bool) -> None:
    members = front(given, higher)
    for index, point in enumerate(given):
        beaten = any(dominates(given[member], point, higher) for member in members)
        assert beaten != (index in members)


@settings(derandomize=True)
@given(points, st.booleans())
def test_only_the_order_of_costs_and_qualities_matters(given: Points, higher: bool) -> None:
    stretched = [(quality**3 - 5, 2.0**cost) for quality, cost in given]
    assert front(stretched, higher) == front(given, higher)
    mirrored = [(-quality, cost) for quality, cost in given]
    assert sorted(front(mirrored, not higher)) == sorted(front(given, higher))


@settings(derandomize=True)
@given(points, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(given: Points, higher: bool, random: object) -> None:
    places = list(range(len(given)))
    random.shuffle(places)  # type: ignore[attr-defined]
    shuffled = [given[place] for place in places]
    assert sorted(places[index] for index in front(shuffled, higher)) == sorted(front(given, higher))


@settings(derandomize=True)
@given(points, st.booleans())
def test_members_come_from_cheap_to_dear_and_from_bad_to_good(given: Points, higher: bool) -> None:
    members = [given[index] for index in front(given, higher)]
    sign = 1 if higher else -1
    assert [cost for _, cost in members] == sorted(cost for _, cost in members)
    assert [sign * quality for quality, _ in members] == sorted(sign * quality for quality, _ in members)


def test_an_example() -> None:
    qualities = [0.90, 0.95, 0.95, 0.97, 0.80, 0.99]
    costs = [1.0, 2.0, 2.0, 5.0, 3.0, None]
    assert pareto_front(qualities, costs, higher=True) == [0, 1, 2, 3]
    assert pareto_front(qualities, costs, higher=False) == [0, 4]
    assert pareto_front([], [], higher=True) == []
    assert pareto_front([1.0], [None], higher=True) == []


@pytest.mark.parametrize("higher", [True, False])
def test_a_single_point_is_its_own_front(higher: bool) -> None:
    assert pareto_front([0.5], [3.0], higher) == [0]
