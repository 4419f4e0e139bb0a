"""Proposals: valid, pure, of the law that the sampler promises, and the same however a sweep is carried out."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nnopt.compare.search.trial import Trial
from nnopt.errors import UsageError
from nnopt.search.propose.distributions import as_parameter, distributions, from_parameter
from nnopt.search.propose.places import DIMENSIONS
from nnopt.search.propose.proposals import known_before, propose
from nnopt.spec.search.domains import Choice, LogRange, NumberDomain
from nnopt.spec.search.samplers import SamplerSpec
from nnopt.spec.search.search import SearchSpec
from nnopt.spec.search.setting import active_keys

RATES: dict[str, Any] = {"optimizer.lr": {"log": [1e-5, 1]}, "optimizer.weight_decay": {"log": [1e-6, 1e-2]}}
MIXED: dict[str, Any] = {
    "optimizer.momentum": {"range": [0, 0.99], "when": {"optimizer.kind": "sgd"}},
    "optimizer.lr": {"log": [1e-5, 1]},
    "optimizer.kind": {"choice": ["sgd", "adam"]},
    "strategy.batch_size": {"int": [16, 512], "log": True},
    "model.hidden": {"choice": [[64], [128, 64], []]},
}


class Odd(SamplerSpec):
    """A plug-in that names no way to propose."""

    kind: str = "odd"


def search(space: dict[str, Any] = RATES, **keys: Any) -> SearchSpec:
    """A search of `space`."""
    return SearchSpec.model_validate({"space": space, **keys})


def loss_of(setting: dict[str, Any]) -> float:
    """A bowl in the logarithms of two keys, lowest at 3.16e-3 and 1e-4."""
    lr, decay = math.log10(setting["optimizer.lr"]), math.log10(setting.get("optimizer.weight_decay", 1e-4))
    return (lr + 2.5) ** 2 + (decay + 4) ** 2


def carry_out(searched: SearchSpec, trials: int, jobs: int = 1, chance: int = 0) -> list[dict[str, Any]]:
    """The settings of a sweep by `jobs` workers that need times drawn by `chance`."""
    drawn, made, at_work = random.Random(chance), dict[int, Trial](), list[int]()
    while len(made) < trials or at_work:
        index = len(made)
        needed = known_before(searched, searched.space, index)
        ready = index < trials and all(made[number].is_finished for number in range(needed))
        if ready and len(at_work) < jobs:
            known = [made[number] for number in range(needed)]
            made[index] = Trial(index, propose(searched.space, searched.sampler, index, known, False), "running")
            at_work.append(index)
            continue
        number = at_work.pop(drawn.randrange(len(at_work)))
        setting = dict(made[number].setting)
        if setting["optimizer.lr"] > 0.3:
            made[number] = Trial(number, setting, "diverged", train_seconds=drawn.random())
        else:
            made[number] = Trial(number, setting, "done", loss_of(setting), train_seconds=drawn.random())
    return [dict(made[number].setting) for number in range(trials)]


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """A space of one to five keys, some of them conditional on a choice."""
    ends = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda two: [min(two), min(two) + max(two)])
    domains = st.one_of(
        st.builds(lambda ends: {"log": [ends[0] / 1000, ends[1] / 1000]}, ends),
        st.builds(lambda ends: {"range": [ends[0] - 25, ends[1] - 25]}, ends),
        st.builds(lambda ends, log: {"int": ends, "log": log}, ends, st.booleans()),
        st.sampled_from([{"choice": ["a", "b"]}, {"choice": [None, 1, 2.5, "[1]", [1, 2], {"kind": "x"}]}]),
    )
    space = dict(zip("vwxyz", draw(st.lists(domains, min_size=1, max_size=5)), strict=False))
    when = {"when": {"kind": draw(st.sampled_from(["a", "b"]))}}
    space = {key: {**domain, **(when if draw(st.booleans()) else {})} for key, domain in space.items()}
    return {**space, "kind": {"choice": ["a", "b"]}}


@settings(max_examples=60)
@given(spaces(), st.sampled_from(["random", "quasi_random", "tpe"]), st.integers(0, 30), st.randoms())
def test_a_proposal_has_the_active_keys_with_values_of_their_domains(
    space: dict[str, Any], kind: str, index: int, chance: random.Random
) -> None:
    searched = search(space, sampler={"kind": kind, **({"startup_trials": 2} if kind == "tpe" else {})}, at_once=1)
    known = []
    for number in range(min(index, 6)):
        setting = propose(searched.space, search(space, sampler={"kind": "random"}).sampler, number, [], True)
        status = chance.choice(["done", "diverged", "pruned", "failed"])
        known.append(Trial(number, setting, status, chance.random() if status == "done" else None))
    setting = propose(searched.space, searched.sampler, index, known, True)
    assert tuple(setting) == active_keys(searched.space, setting)
    assert setting == propose(searched.space, searched.sampler, index, list(known), True)
    for key, value in setting.items():
        domain = searched.space[key]
        if isinstance(domain, Choice):
            assert value in domain.choice
        else:
            assert isinstance(domain, NumberDomain)
            assert domain.low <= value <= domain.high
        assert from_parameter(as_parameter(value)) == value
        assert distributions(searched.space, setting)[key]._contains(
            distributions(searched.space, setting)[key].to_internal_repr(as_parameter(value))
        )


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_every_value_of_a_choice_comes_back_from_the_study(value: Any) -> None:
    stored = json.loads(json.dumps(as_parameter(value)))
    assert not isinstance(stored, list | dict)
    assert from_parameter(stored) == value


@pytest.mark.parametrize("kind", ["grid", "random", "quasi_random", "tpe", "cma_es"])
def test_the_same_trials_come_out_whatever_the_workers(kind: str) -> None:
    space = {key: {**domain, "points": 5} for key, domain in RATES.items()}
    searched = search(space, sampler={"kind": kind, **({"startup_trials": 4} if kind == "tpe" else {})})
    alone = carry_out(searched, 24)
    assert len({tuple(setting.values()) for setting in alone}) == 24
    assert carry_out(searched, 24, jobs=3, chance=1) == alone
    assert carry_out(searched, 24, jobs=16, chance=2) == alone


@pytest.mark.parametrize("sampler", [{"kind": "random"}, {"kind": "quasi_random"}, {"kind": "tpe"}])
def test_pruning_or_learning_bounds_how_many_trials_are_in_hand(sampler: dict[str, Any]) -> None:
    free, steered = search(sampler=sampler, at_once=3), search(sampler=sampler, at_once=3, prune={"kind": "median"})
    indices = range(12)
    assert [known_before(steered, steered.space, index) for index in indices] == [max(0, n - 2) for n in indices]
    learns = sampler["kind"] == "tpe"
    assert [known_before(free, free.space, index) for index in indices] == [max(0, n - 2) * learns for n in indices]


def test_a_generation_of_an_evolution_knows_those_before_it() -> None:
    searched = search(sampler={"kind": "cma_es", "population": 4}, at_once=2)
    assert [known_before(searched, searched.space, index) for index in range(9)] == [0, 0, 0, 0, 4, 4, 4, 4, 8]


def test_a_grid_goes_through_all_its_points_and_says_when_there_are_no_more() -> None:
    space = {
        "a": {"log": [0.01, 1], "points": 3},
        "kind": {"choice": ["sgd", "adam"]},
        "b": {"int": [1, 2], "when": {"kind": "sgd"}},
    }
    searched = search(space, sampler={"kind": "grid"})
    found = [propose(searched.space, searched.sampler, index, [], True) for index in range(9)]
    expected = [
        setting
        for a in (0.01, 0.1, 1.0)
        for setting in ({"kind": "sgd", "b": 1}, {"kind": "sgd", "b": 2}, {"kind": "adam"})
        for setting in ({"a": a, **setting},)
    ]
    assert found == expected
    with pytest.raises(UsageError, match="the grid has 9 points, so there is no trial 10"):
        propose(searched.space, searched.sampler, 9, [], True)


def test_random_draws_follow_the_law_of_each_key() -> None:
    searched = search(MIXED, sampler={"kind": "random", "seed": 3})
    drawn = [propose(searched.space, searched.sampler, index, [], True) for index in range(2000)]
    rates = [math.log10(setting["optimizer.lr"]) for setting in drawn]
    assert stats.kstest(rates, stats.uniform(-5, 5).cdf).pvalue > 0.01
    momenta = [setting["optimizer.momentum"] for setting in drawn if setting["optimizer.kind"] == "sgd"]
    assert all("optimizer.momentum" not in setting for setting in drawn if setting["optimizer.kind"] == "adam")
    assert 900 < len(momenta) < 1100
    assert stats.kstest(momenta, stats.uniform(0, 0.99).cdf).pvalue > 0.01
    sizes = [math.log(setting["strategy.batch_size"]) for setting in drawn]
    low, high = math.log(15.5), math.log(512.5)
    assert stats.kstest(sizes, stats.uniform(low, high - low).cdf).statistic < 0.04  # whole numbers: no p
    assert stats.chisquare(list(Counter(str(setting["model.hidden"]) for setting in drawn).values())).pvalue > 0.01
    assert abs(stats.spearmanr(rates, sizes).statistic) < 0.05


def test_random_draws_of_a_key_are_the_same_whatever_else_is_searched() -> None:
    both, alone = search(MIXED, sampler={"kind": "random"}), search(sampler={"kind": "random"})
    for index in range(10):
        first, second = (propose(one.space, one.sampler, index, [], True) for one in (both, alone))
        assert first["optimizer.lr"] == second["optimizer.lr"]
        other = propose(alone.space, alone.sampler.model_copy(update={"seed": 1}), index, [], True)
        assert other["optimizer.lr"] != second["optimizer.lr"]


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
@pytest.mark.parametrize("scramble", [True, False])
def test_quasi_random_points_are_scipys(sequence: str, scramble: bool) -> None:
    sampler = {"kind": "quasi_random", "sequence": sequence, "scramble": scramble, "seed": 5}
    searched = search(sampler=sampler)
    generator: Any = {"sobol": stats.qmc.Sobol, "halton": stats.qmc.Halton}[sequence]
    points = generator(DIMENSIONS, scramble=scramble, rng=5).random(32)
    for index, (first, second, *_) in enumerate(points):
        setting = propose(searched.space, searched.sampler, index, [], True)
        assert setting["optimizer.lr"] == pytest.approx(10 ** (-5 + 5 * first), rel=1e-5)
        assert setting["optimizer.weight_decay"] == pytest.approx(10 ** (-6 + 4 * second), rel=1e-5)


def test_sixteen_quasi_random_trials_lie_in_sixteen_parts_of_every_range() -> None:
    searched = search()
    drawn = [propose(searched.space, searched.sampler, index, [], True) for index in range(16)]
    for key, domain in searched.space.items():
        assert isinstance(domain, LogRange)
        assert {int(16 * domain.place_of(setting[key])) for setting in drawn} == set(range(16))


@pytest.mark.parametrize("kind", ["random", "quasi_random", "tpe", "cma_es"])
def test_a_later_round_tries_other_settings_than_the_first(kind: str) -> None:
    searched = search(sampler={"kind": kind})
    first, later = (
        {propose(searched.space, searched.sampler, index, [], True, begin)["optimizer.lr"] for index in range(6)}
        for begin in (0, 20)
    )
    assert len(first | later) == 12


def test_quasi_random_rounds_go_on_in_the_sequence() -> None:
    searched = search()
    assert propose(searched.space, searched.sampler, 3, [], True, 4) == propose(
        searched.space, searched.sampler, 7, [], True
    )


def test_a_sampler_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="the sampler Odd is no subclass of one of nnopt's"):
        propose(search().space, Odd(), 0, [], True)
