"""A best at the edge of its range is found, with the part beyond that the key takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_searches import LR, space

from nnopt.compare.search.edges import ends_of_choices, find_edges
from nnopt.compare.search.trial import Trial
from nnopt.spec.search.domains import IntRange, LogRange

SGD = {"optimizer": {"kind": "sgd"}}


def best(**setting: object) -> Trial:
    return Trial(0, {key.replace("__", "."): value for key, value in setting.items()}, "done", 0.9)


def test_the_sentence_names_value_range_and_what_to_do() -> None:
    (edge,) = find_edges(best(optimizer__lr=0.0971), space(optimizer__lr={"log": [1e-5, 0.1]}), SGD)
    assert edge.sentence("adam") == (
        "the best optimizer.lr of adam, 0.0971, lies at the upper end of 1e-05 to 0.1: better values may lie beyond; "
        "`--extend` searches 0.1 to 1 too"
    )
    assert (edge.low, edge.high) == (1e-5, 1.0)


@pytest.mark.parametrize(
    ("key", "domain", "value", "added"),
    [
        ("optimizer.lr", {"log": [1e-3, 1]}, 1e-3, (1e-4, 1e-3)),
        ("optimizer.lr", {"log": [0.1, 0.5]}, 0.5, (0.5, 5.0)),  # by factors, though less than a decade wide
        ("optimizer.lr", {"range": [0.1, 0.5]}, 0.4999, (0.5, 0.9)),
        ("optimizer.lr", {"range": [0.1, 0.5]}, 0.1, (0.05, 0.1)),  # half way to 0, which is no rate
        ("optimizer.lr", {"range": [0.1, 0.5]}, 0.3, None),
        ("optimizer.momentum", {"range": [0, 0.9]}, 0.9, (0.9, 0.95)),  # below 1
        ("optimizer.momentum", {"range": [0, 0.9]}, 0.0, None),  # and no less than 0
        ("strategy.batch_size", {"int": [16, 64]}, 64, (65.0, 112.0)),
        ("strategy.batch_size", {"int": [16, 64], "log": True}, 16, (2.0, 15.0)),
        ("strategy.batch_size", {"int": [1, 64]}, 1, None),
        ("strategy.batch_size", {"int": [2, 4]}, 2, (1.0, 2.0)),  # 1 alone is no range
        ("strategy.accumulate", {"int": [1, 8]}, 1, None),
        ("strategy.accumulate", {"int": [1, 8]}, 8, (9.0, 15.0)),
    ],
)
def test_the_part_beyond_is_what_the_key_takes(
    key: str, domain: object, value: float, added: tuple[float, float] | None
) -> None:
    found = find_edges(Trial(0, {key: value}, "done", 0.9), space(**{key.replace(".", "__"): domain}), SGD)
    if added is None:
        assert found == ()
    else:
        assert found[0].added == pytest.approx(added)


@given(st.integers(0, 200), st.integers(1, 300), st.booleans(), st.sampled_from(["lower", "upper"]))
def test_whole_numbers_stay_whole_and_the_range_grows(low: int, width: int, is_log: bool, end: str) -> None:
    domain = IntRange(int=(low, low + width), log=is_log and low > 0)
    value = low if end == "lower" else low + width
    for edge in find_edges(Trial(0, {"mine": value}, "done", 1.0), {"mine": domain}, {}):
        assert edge.end == end
        first, last = edge.added
        assert first.is_integer()
        assert last.is_integer()
        assert first < last
        assert (first < low and last <= low) if end == "lower" else (first >= low + width and last > low + width)


@given(st.floats(-6, 2), st.floats(0.1, 6), st.floats(0, 1))
def test_a_range_of_factors_ends_a_hundredth_of_its_logarithm_off(low: float, decades: float, share: float) -> None:
    domain = LogRange(log=(10**low, 10 ** (low + decades)))
    found = find_edges(Trial(0, {LR: 10 ** (low + share * decades)}, "done", 1.0), {LR: domain}, SGD)
    if 0.0101 < share < 0.9899:
        assert found == ()
    elif not 0.0099 < share < 0.9901:
        (edge,) = found
        assert edge.end == ("lower" if share < 0.5 else "upper")
        assert edge.added[1] / edge.added[0] == pytest.approx(10)


def test_keys_that_the_best_does_not_have_are_no_edges() -> None:
    two = space(optimizer__lr={"log": [1e-3, 1]}, optimizer__momentum={"range": [0, 0.9], "when": {"x": 1}})
    assert [edge.key for edge in find_edges(best(optimizer__lr=1.0), two, SGD)] == [LR]


def test_beyond_the_outermost_that_was_tried_nothing_is_known() -> None:
    one = space(optimizer__lr={"log": [1e-4, 1]})
    tried = [Trial(n, {LR: rate}, "done", rate) for n, rate in enumerate([0.001, 0.01, 0.3])]
    (edge,) = find_edges(tried[2], one, SGD, tried)
    assert edge.sentence("sgd") == (
        "the best optimizer.lr of sgd, 0.3, lies at the upper end of 0.0001 to 1 (none larger was tried): better "
        "values may lie beyond; `--extend` searches 1 to 10 too"
    )
    assert find_edges(tried[2], one, SGD, [*tried, Trial(3, {LR: 0.7}, "diverged")]) == ()
    assert find_edges(tried[2], one, SGD, [*tried, Trial(3, {LR: 0.7}, "running")]) == (edge,)
    (edge,) = find_edges(tried[0], one, SGD, tried)
    assert (edge.end, edge.added) == ("lower", pytest.approx((1e-5, 1e-4)))
    assert find_edges(tried[2], one, SGD, tried[1:]) == ()  # of two one is always the largest


def test_numbers_to_choose_from_have_ends_too() -> None:
    choices = space(
        strategy__batch_size={"choice": [16, 64, 32]},
        model__activation={"choice": ["relu", "tanh", "sigmoid"]},
        model__bias={"choice": [False, True]},
    )
    large = best(strategy__batch_size=64, model__activation="relu", model__bias=True)
    assert find_edges(large, choices, SGD) == ()
    (sentence,) = ends_of_choices(large, choices, "sgd")
    assert sentence == (
        "the best strategy.batch_size of sgd, 64, is the largest of its choices: larger ones may be better; add some "
        "to `choice`"
    )
    assert "the smallest" in ends_of_choices(best(strategy__batch_size=16), choices, "sgd")[0]
    assert ends_of_choices(best(strategy__batch_size=32), choices, "sgd") == []
