"""Samplers that learn: they get nearer to the best than chance does, and what they know is the known trials alone."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any

import numpy as np
import pytest
from cmaes import CMA

from nnopt.compare.search.trial import Trial
from nnopt.randomness import derive
from nnopt.search.propose.losses import losses
from nnopt.search.propose.proposals import known_before, propose
from nnopt.spec.search.search import SearchSpec

SPACE: dict[str, Any] = {"lr": {"log": [1e-5, 1]}, "decay": {"log": [1e-6, 1e-2]}}
BEST = {"lr": -2.5, "decay": -4.0}  # logarithms


def loss_of(setting: dict[str, Any]) -> float:
    """A bowl in the logarithms of both keys."""
    return sum((math.log10(setting[key]) - best) ** 2 for key, best in BEST.items())


def run(
    sampler: dict[str, Any], trials: int, higher_is_better: bool = False, diverges_from: float = 2.0
) -> list[Trial]:
    """A sweep over the bowl, or over the hill where more is better."""
    searched = SearchSpec.model_validate({"space": SPACE, "sampler": sampler})
    made: list[Trial] = []
    for index in range(trials):
        known = made[: known_before(searched, searched.space, index)]
        setting = propose(searched.space, searched.sampler, index, known, higher_is_better)
        if setting["lr"] >= diverges_from:
            made.append(Trial(index, setting, "diverged"))
        else:
            made.append(Trial(index, setting, "done", loss_of(setting) * (-1 if higher_is_better else 1)))
    return made


def best(trials: list[Trial]) -> float:
    """The lowest loss."""
    return min(abs(trial.value) for trial in trials if trial.value is not None)


@pytest.mark.parametrize("kind", ["tpe", "cma_es"])
def test_it_gets_nearer_to_the_best_than_chance(kind: str) -> None:
    learned = [best(run({"kind": kind, "seed": seed}, 40)) for seed in range(5)]
    drawn = [best(run({"kind": "random", "seed": seed}, 40)) for seed in range(5)]
    assert statistics.median(learned) < statistics.median(drawn) / 2


@pytest.mark.parametrize("kind", ["tpe", "cma_es"])
def test_it_climbs_as_it_descends(kind: str) -> None:
    down, up = run({"kind": kind}, 24), run({"kind": kind}, 24, higher_is_better=True)
    assert [trial.setting for trial in down] == [trial.setting for trial in up]


@pytest.mark.parametrize("kind", ["tpe", "cma_es"])
def test_it_leaves_where_trials_diverge(kind: str) -> None:
    begun, later = 0, 0
    for seed in range(4):
        trials = run({"kind": kind, "seed": seed}, 60, diverges_from=1e-3)
        begun += sum(trial.status == "diverged" for trial in trials[:15])
        later += sum(trial.status == "diverged" for trial in trials[30:])
    assert later / 120 < begun / 60 * 0.7


@pytest.mark.parametrize("kind", ["tpe", "cma_es"])
def test_a_proposal_depends_on_results_alone(kind: str) -> None:
    searched = SearchSpec.model_validate({"space": SPACE, "sampler": {"kind": kind}})
    known = run({"kind": kind}, 24)
    proposed = propose(searched.space, searched.sampler, 24, known, False)
    np.random.seed(7)
    later = [dataclasses.replace(trial, train_seconds=99.0, values={0: 1.0}) for trial in known]
    assert propose(searched.space, searched.sampler, 24, later, False) == proposed
    assert trial_with_other_value(known)[3].value != known[3].value
    assert propose(searched.space, searched.sampler, 24, trial_with_other_value(known), False) != proposed


def trial_with_other_value(known: list[Trial]) -> list[Trial]:
    """The same trials, but number 3 is the best."""
    return [dataclasses.replace(trial, value=-1.0) if trial.number == 3 else trial for trial in known]


def test_a_failed_trial_is_nothing_to_learn_from_for_tpe() -> None:
    searched = SearchSpec.model_validate({"space": SPACE, "sampler": {"kind": "tpe", "startup_trials": 5}})
    known = run({"kind": "random"}, 12)
    failed = Trial(12, {"lr": 1e-5, "decay": 1e-6}, "failed")
    without, with_it = (
        propose(searched.space, searched.sampler, 13, trials, False) for trials in (known, [*known, failed])
    )
    assert without == with_it


def test_tpe_begins_with_the_random_draws() -> None:
    learned, drawn = run({"kind": "tpe", "startup_trials": 6}, 10), run({"kind": "random"}, 10)
    same = [one.setting == other.setting for one, other in zip(learned, drawn, strict=True)]
    assert same == [True] * 9 + [False]  # trial 9 is the first to know six


def test_trials_without_a_value_rank_behind_all_others_by_their_status() -> None:
    trials = [
        Trial(0, {}, "failed"),
        Trial(1, {}, "diverged"),
        Trial(2, {}, "done", 0.2),
        Trial(3, {}, "pruned"),
        Trial(4, {}, "done", 0.9),
        Trial(5, {}, "done", math.inf),
    ]
    assert [int(place) for place in np.argsort(losses(trials, False), kind="stable")] == [2, 4, 3, 1, 5, 0]
    assert [int(place) for place in np.argsort(losses(trials, True), kind="stable")] == [4, 2, 3, 1, 5, 0]
    assert all(math.isfinite(loss) for loss in losses(trials, True))
    assert losses([Trial(0, {}, "diverged")], True) == losses([Trial(0, {}, "diverged")], False)


def test_an_evolution_is_that_of_cmaes_driven_directly() -> None:
    trials = run({"kind": "cma_es", "population": 5, "sigma": 0.3, "seed": 4}, 30)
    seed = derive(4, "search/cma_es", 0, 0) % 2**32
    law = CMA(np.full(2, 0.5), 0.3, np.array([[0.0, 1.0]] * 2), seed=seed, population_size=5)
    for begin in range(0, 30, 5):
        generation = []
        for trial in trials[begin : begin + 5]:
            x = law.ask()
            assert math.log10(trial.setting["lr"]) == pytest.approx(-5 + 5 * x[0], abs=1e-5)
            assert math.log10(trial.setting["decay"]) == pytest.approx(-6 + 4 * x[1], abs=1e-5)
            generation.append((x, trial.value or 0.0))
        law.tell(generation)


def test_an_evolution_that_has_nothing_left_to_gain_begins_afresh() -> None:
    searched = SearchSpec.model_validate({"space": SPACE, "sampler": {"kind": "cma_es", "population": 4}})
    seed = derive(0, "search/cma_es", 0, 0) % 2**32
    law = CMA(np.full(2, 0.5), 0.25, np.array([[0.0, 1.0]] * 2), seed=seed, population_size=4)
    generations = 0
    while not law.should_stop():  # all alike: nothing to be learnt
        law.tell([(law.ask(), 2.0) for _ in range(4)])
        generations += 1
    known = [Trial(number, {}, "diverged") for number in range(4 * generations)]
    goes_on, first = law.ask(), propose(searched.space, searched.sampler, 4 * generations, known, False)
    assert math.log10(first["lr"]) != pytest.approx(-5 + 5 * goes_on[0], abs=1e-3)
    afresh = [propose(searched.space, searched.sampler, 4 * generations + place, known, False) for place in range(4)]
    assert len({setting["lr"] for setting in afresh}) == 4
    before = propose(searched.space, searched.sampler, 4 * generations - 4, known[:-4], False)
    assert before["lr"] not in {setting["lr"] for setting in afresh}
