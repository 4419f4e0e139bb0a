"""The values that a key is searched over: their law, their grid, and what is refused."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from nnopt.spec.identity import resolved, to_yaml
from nnopt.spec.messages import in_words
from nnopt.spec.search.domains import AnyDomain, Choice, Domain, IntRange, LinearRange, LogRange, NumberDomain
from nnopt.spec.yaml_reader import read_text

ADAPTER: TypeAdapter[Domain] = TypeAdapter(AnyDomain)
places = st.floats(0, 1)


def domain(keys: dict[str, Any]) -> Domain:
    """The domain that a mapping of the file describes."""
    return ADAPTER.validate_python(keys)


@st.composite
def number_domains(draw: st.DrawFn) -> NumberDomain:
    """Ranges of every kind, narrow and wide."""
    kind = draw(st.sampled_from(["log", "range", "int", "int log"]))
    if kind.startswith("int"):
        low = draw(st.integers(1 if "log" in kind else -1000, 1000))
        keys: dict[str, Any] = {"int": [low, low + draw(st.integers(1, 10**6))], "log": "log" in kind}
    elif kind == "log":
        low_end = draw(st.floats(1e-300, 1e200))
        keys = {"log": [low_end, low_end * draw(st.floats(1.01, 1e100))]}
    else:
        left = draw(st.floats(-1e10, 1e10))
        keys = {"range": [left, left + draw(st.floats(1e-3, 1e10))]}
    found = domain(keys)
    assert isinstance(found, NumberDomain)
    return found


@given(number_domains(), places, places)
def test_values_lie_in_the_range_and_rise_with_the_place(numbers: NumberDomain, one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, second = numbers.at(low), numbers.at(high)
    assert numbers.low <= first <= second <= numbers.high
    assert (numbers.at(0.0), numbers.at(1.0)) == (numbers.low, numbers.high)
    assert numbers.low <= numbers.middle() <= numbers.high


@given(st.floats(1e-8, 1), st.floats(2, 1e8), places)
def test_a_range_by_factors_is_uniform_in_the_logarithm(low: float, factor: float, place: float) -> None:
    numbers = domain({"log": [low, low * factor]})
    assert isinstance(numbers, LogRange)
    assert numbers.at(place) == pytest.approx(low * factor**place, rel=1e-4)
    assert numbers.place_of(low * factor**place) == pytest.approx(place, abs=1e-9)


def test_a_range_is_uniform_and_tells_places_beyond_it() -> None:
    numbers = domain({"range": [-1, 3]})
    assert isinstance(numbers, LinearRange)
    assert [numbers.at(place) for place in (0.0, 0.25, 1.0)] == [-1, 0, 3]
    assert [numbers.place_of(value) for value in (-2.0, 1.0, 5.0)] == [-0.25, 0.5, 1.5]
    rates = domain({"log": [0.01, 1]})
    assert isinstance(rates, LogRange)
    assert rates.place_of(0) == rates.place_of(-1) == -math.inf
    assert rates.place_of(100) == pytest.approx(2)


def test_a_narrow_range_is_not_rounded_to_its_ends() -> None:
    values = domain({"range": [1000, 1000.001], "points": 5}).grid()
    assert values == pytest.approx(numpy.linspace(1000, 1000.001, 5), abs=1e-9)
    assert len(set(values)) == 5


def test_whole_numbers_are_equally_likely_evenly_or_by_their_stretch_of_factors() -> None:
    many = [(index + 0.5) / 18_000 for index in range(18_000)]
    even = Counter(map(domain({"int": [4, 12]}).at, many))
    assert even == dict.fromkeys(range(4, 13), 2_000)
    by_factors = Counter(map(domain({"int": [1, 8], "log": True}).at, many))
    width = math.log(8.5 / 0.5)
    for value, count in by_factors.items():
        assert count / 18_000 == pytest.approx(math.log((value + 0.5) / (value - 0.5)) / width, abs=2e-4)
    assert set(by_factors) == set(range(1, 9))


def test_choices_are_equally_likely_and_the_first_stands_for_them() -> None:
    values = ["relu", [8, 8], None, {"kind": "cosine"}, True]
    chosen = domain({"choice": values})
    assert [chosen.at((index + 0.5) / 5) for index in range(5)] == values
    assert chosen.at(1.0) is True
    assert chosen.middle() == "relu"
    assert list(chosen.grid()) == list(chosen.probes()) == values


def test_grids_are_numpys() -> None:
    assert domain({"log": [1e-4, 1], "points": 5}).grid() == pytest.approx(numpy.geomspace(1e-4, 1, 5))
    assert domain({"range": [0, 0.9], "points": 4}).grid() == pytest.approx(numpy.linspace(0, 0.9, 4))
    assert domain({"int": [2, 5]}).grid() == (2, 3, 4, 5)
    assert domain({"int": [16, 512], "log": True, "points": 6}).grid() == (16, 32, 64, 128, 256, 512)
    assert domain({"int": [1, 3], "points": 9}).grid() == (1, 2, 3)
    assert domain({"int": [0, 100], "points": 3}).grid() == (0, 50, 100)


def test_other_ends_keep_all_else() -> None:
    numbers = domain({"int": [16, 64], "log": True, "points": 3, "when": {"a": [1]}})
    assert isinstance(numbers, IntRange)
    wider = numbers.with_ends(15.6, 640.2)
    assert wider == domain({"int": [16, 640], "log": True, "points": 3, "when": {"a": [1]}})
    for keys, ends in (({"log": [1, 2]}, (2, 20)), ({"range": [0, 1]}, (-1, 0))):
        some = domain(keys)
        assert isinstance(some, NumberDomain)
        other = some.with_ends(*ends)
        assert (type(other), other.low, other.high) == (type(some), *ends)


@given(number_domains())
def test_a_domain_survives_yaml(numbers: NumberDomain) -> None:
    node = read_text(to_yaml({"space": resolved(numbers)}), "")
    assert node is not None
    assert domain(node.plain()["space"]) == numbers


def test_choices_survive_yaml() -> None:
    chosen = Choice(choice=(None, True, 1, 1.5, "no", "1", [1, [2]], {"kind": "x", "at": [0.5]}), when={"a": ["on", 1]})
    node = read_text(to_yaml({"space": resolved(chosen)}), "")
    assert node is not None
    assert domain(node.plain()["space"]) == chosen


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([1, 2], "should say which values are searched, as {log: [1.0e-4, 1]}"),
        (0.1, "should say which values are searched"),
        ({}, "should have exactly one of log, range, int, choice, not none of them"),
        ({"range": [0, 1], "int": [0, 1]}, "exactly one of log, range, int, choice, not int and range"),
        ({"range": [0, 1], "log": True}, "exactly one of log, range, int, choice, not range and log"),
        ({"log": [0, 1]}, "should be greater than 0 at both ends to be searched by factors, not 0"),
        ({"log": [-1, 1]}, "should be greater than 0 at both ends"),
        ({"log": [1, 1]}, "is empty: both ends are 1"),
        ({"log": [2, 1]}, "is reversed: write [1, 2]"),
        ({"range": [1, 0]}, "is reversed: write [0, 1]"),
        ({"range": [-1.7e308, 1.7e308]}, "is too wide"),
        ({"int": [3, 3]}, "is empty"),
        ({"int": [0, 9], "log": True}, "should begin at 1 or above to be searched by factors, not at 0"),
        ({"int": [0.5, 9]}, "should be a whole number"),
        ({"log": [1]}, "should have at least 2 entries"),
        ({"log": [1, 2, 3]}, "should have at most 2 entries"),
        ({"log": True}, "should be a list"),
        ({"log": [1, 2], "points": 1}, "should be at least 2, not 1"),
        ({"choice": [1]}, "should have at least 2 entries, not 1"),
        ({"choice": ["a", "b", "a"]}, "the text 'a' is given twice"),
        ({"choice": [[1], [1]]}, "a list is given twice"),
        ({"log": [1, 2], "pionts": 3}, "unknown key 'pionts'; did you mean 'points'?"),
        ({"log": [1, 2], "when": 3}, "should be a mapping"),
    ],
)
def test_what_is_wrong_is_said(keys: Any, words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        domain(keys)
    assert any(words in in_words(item) for item in raised.value.errors(include_url=False))


def test_true_and_one_are_two_choices() -> None:
    assert domain({"choice": [True, 1]}).grid() == (True, 1)
