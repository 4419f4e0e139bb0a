"""Importance against functions whose variance is known to come from where."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from made_searches import space

from nnopt.compare.search.importance import Importance, importance
from nnopt.compare.search.trial import Trial

TWO = space(optimizer__lr={"log": [1e-4, 1]}, strategy__batch_size={"choice": [16, 32, 64]})
LR, BATCH = TWO


def drawn(count: int, weight: float, diverged_above: float = 2.0) -> list[Trial]:
    """The value is the place of the rate plus `weight` for the largest batch."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        place, batch = random.random(), [16, 32, 64][random.integers(3)]
        is_lost = place > diverged_above
        value = None if is_lost else place + weight * (batch == 64)
        setting = {LR: TWO[LR].at(place), BATCH: batch}
        made.append(Trial(number, setting, "diverged" if is_lost else "done", value))
    return made


def shares(found: Importance, where: str = "") -> dict[str, float]:
    return {one.key: one.share for one in found.keys if one.where == where}


def test_shares_are_those_of_the_variance() -> None:
    # A uniform place has variance 1/12, a weight w of one in three 2/9 w².
    for weight, share in ((0.5, 1 / 12 / (1 / 12 + 0.25 * 2 / 9)), (3.0, 0.04)):
        found = shares(importance(drawn(80, weight), TWO, True))
        assert found[LR] == pytest.approx(share, abs=0.1)
        assert found[BATCH] == pytest.approx(1 - share, abs=0.1)


def test_the_same_trials_give_the_same_numbers_and_forests_differ() -> None:
    found = importance(drawn(30, 0.5), TWO, True)
    assert found == importance(drawn(30, 0.5), TWO, True)
    assert [one.key for one in found.keys] == sorted(shares(found), key=lambda key: -shares(found)[key])
    for one in found.keys:
        assert 0 <= one.low < one.share < one.high <= 1
    assert found.notes == ()


def test_a_trial_that_diverged_counts_as_the_worst() -> None:
    lost = drawn(40, 0.5, diverged_above=0.7)
    worst = min(trial.value for trial in lost if trial.value is not None)
    filled = [Trial(one.number, one.setting, "done", worst if one.value is None else one.value) for one in lost]
    found = importance(lost, TWO, True)
    assert found == importance(filled, TWO, True)
    assert found.keys != importance(lost, TWO, False).keys


def test_a_key_that_took_one_value_is_left_out_and_equal_values_say_so() -> None:
    same = [Trial(trial.number, trial.setting, "done", 1.0) for trial in drawn(20, 0.5)]
    assert importance(same, TWO, True) == Importance((), ("all trials came to the same value: no key matters",))
    one_batch = [Trial(one.number, {**one.setting, BATCH: 16}, "done", one.value) for one in drawn(20, 0.5)]
    assert importance(one_batch, TWO, True).keys == ()


def test_few_trials_one_key_and_pruned_trials_are_told() -> None:
    (few,) = importance(drawn(9, 0.5), TWO, True).notes
    assert few == "9 trials are too few to tell which key matters: it takes 10"
    alone = importance(drawn(30, 0.5), {LR: TWO[LR]}, True)
    assert alone == Importance((), ("only optimizer.lr was searched: it alone explains what differs",))
    pruned = [*drawn(20, 0.5), Trial(20, {LR: 0.1, BATCH: 16}, "pruned")]
    assert importance(pruned, TWO, True).keys == importance(pruned[:20], TWO, True).keys
    (told,) = importance(pruned, TWO, True).notes
    assert told == "1 of 21 trials were pruned: importance is told of the others alone"


def test_of_very_many_trials_some_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = drawn(50, 0.5)
    monkeypatch.setattr("nnopt.compare.search.importance.MOST", 20)
    found = importance(trials, TWO, True)
    assert found.keys == importance(trials[::3], TWO, True).keys
    assert found.notes == ("importance is told of one in 3 trials, 17",)


def test_keys_of_some_kinds_are_held_against_each_other_among_these() -> None:
    kinds = space(
        optimizer__kind={"choice": ["sgd", "momentum", "adam"]},
        optimizer__lr={"log": [1e-4, 1]},
        optimizer__momentum={"range": [0, 0.9], "when": {"optimizer.kind": "momentum"}},
    )
    random = np.random.default_rng(0)
    trials = []
    for number in range(50):
        kind = ["sgd", "momentum", "adam"][0 if number < 5 else 1 + number % 2]
        place, momentum = random.random(), 0.9 * random.random()
        setting = {"optimizer.kind": kind, "optimizer.lr": kinds[LR].at(place)}
        if kind == "momentum":
            setting["optimizer.momentum"] = momentum
        trials.append(Trial(number, setting, "done", place if kind != "momentum" else 0.1 * place + momentum))
    found = importance(trials, kinds, True)
    assert set(shares(found)) == {"optimizer.kind", "optimizer.lr"}
    beside = shares(found, "optimizer.kind is momentum")
    assert beside["optimizer.momentum"] > 0.8 > beside["optimizer.lr"]
    assert set(beside) == {"optimizer.lr", "optimizer.momentum"}
    assert "5 trials with optimizer.kind is sgd are too few" in found.notes[0]
    assert found.notes[-1] == "optimizer.momentum is not in every trial"


def test_optuna_keeps_quiet_and_is_as_loud_as_before_afterwards() -> None:
    code = """
from optuna import logging
from nnopt.compare.search.importance import importance
from nnopt.compare.search.trial import Trial
from nnopt.spec.search.domains import LinearRange
space = {key: LinearRange(range=(0, 1)) for key in "ab"}
trials = [Trial(n, {"a": n / 10, "b": n * 7 % 10 / 10}, "done", float(n)) for n in range(10)]
assert importance(trials, space, True).keys[0].key == "a"
assert logging.get_verbosity() == logging.INFO
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
