"""Cuts against Optuna's own pruners, trial by trial, and on curves of real runs."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from running import fit_one

from nnopt.compare.search.trial import Status
from nnopt.errors import UsageError
from nnopt.search.prune import KnownCurves, curve_of, make_cut
from nnopt.spec.search.pruners import Median, PrunerSpec, SuccessiveHalving

HALVING = SuccessiveHalving(kind="successive_halving", reduction=3, first=1)


class Odd(PrunerSpec):
    """A plug-in that names no rule."""

    kind: str = "odd"


def columns(values: list[float], name: str = "val_accuracy") -> dict[str, list[float | None]]:
    """metrics.csv after these evaluations."""
    return {"step": [float(20 * place) for place in range(1, len(values) + 1)], name: list(values)}


def known_from(number: int, *values: float, status: Status = "done", seed: int = 0) -> KnownCurves:
    """A trial of one seed."""
    return KnownCurves(number, status, {seed: list(values)})


def drawn_curves(chance: random.Random, broken: bool, rising: bool) -> list[list[float]]:
    """Curves towards a level of their own, of many ties; where `broken`, some values are no numbers."""
    curves, sign = [], 1 if rising else -1
    for _ in range(40):
        level, length = chance.random(), chance.choice([6, 20, 20])
        curve = [round(sign * level * (1 - 0.8**place) + chance.gauss(0, 0.05), 1) for place in range(1, length + 1)]
        curves.append([math.nan if broken and chance.random() < 0.03 else value for value in curve])
    return curves


def pruned_by_nnopt(prune: PrunerSpec, curves: list[list[float]], higher: bool) -> list[int | None]:
    """After how many evaluations each trial ends; it knows all before it."""
    known: list[KnownCurves] = []
    found: list[int | None] = []
    for number, curve in enumerate(curves):
        cut = make_cut(prune, "val_accuracy", higher, known)
        lengths = (length for length in range(1, len(curve) + 1) if cut(0, columns(curve[:length])) is not None)
        found.append(next(lengths, None))
        shown = curve[: found[-1]]
        known.append(KnownCurves(number, "done" if found[-1] is None else "pruned", {0: shown}))
    return found


def pruned_by_optuna(pruner: optuna.pruners.BasePruner, curves: list[list[float]], higher: bool) -> list[int | None]:
    """The same with one of Optuna's pruners."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if higher else "minimize", pruner=pruner)
    found: list[int | None] = []
    for curve in curves:
        trial = study.ask()
        found.append(None)
        for evaluation, value in enumerate(curve, 1):
            trial.report(value, evaluation)
            if trial.should_prune():
                found[-1] = evaluation
                break
        state = optuna.trial.TrialState.COMPLETE if found[-1] is None else optuna.trial.TrialState.PRUNED
        study.tell(trial, 0.0 if found[-1] is None else None, state=state)
    return found


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize(("reduction", "first"), [(2, 1), (3, 1), (3, 2), (4, 5)])
def test_halving_ends_the_trials_that_optuna_ends(reduction: int, first: int, higher: bool) -> None:
    prune = SuccessiveHalving(kind="successive_halving", reduction=reduction, first=first)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=reduction)
    for seed in range(4):
        curves = drawn_curves(random.Random(seed), broken=True, rising=higher)
        expected = pruned_by_optuna(pruner, curves, higher)
        assert any(expected)
        assert pruned_by_nnopt(prune, curves, higher) == expected


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize(("startup", "warmup"), [(1, 0), (5, 1), (8, 3)])
def test_the_median_ends_the_trials_that_optuna_ends(startup: int, warmup: int, higher: bool) -> None:
    prune = Median(kind="median", startup_trials=startup, warmup=warmup)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup + 1)
    for seed in range(4):
        curves = drawn_curves(random.Random(seed), broken=False, rising=higher)
        expected = pruned_by_optuna(pruner, curves, higher)
        assert any(expected)
        assert pruned_by_nnopt(prune, curves, higher) == expected


def test_the_reason_names_the_rivals() -> None:
    known = [known_from(number, value, value, value) for number, value in enumerate((0.9, 0.85, 0.83, 0.7, 0.5, 0.4))]
    halving = make_cut(HALVING, "val_accuracy", True, known)
    assert halving(0, columns([0.86])) is None
    assert halving(0, columns([0.85, 0.5])) is None  # 2 is no rung, and equal is not worse
    assert halving(0, columns([0.86, 0.5, 0.41])) == (
        "pruned after 3 evaluations: val_accuracy 0.41, the best 2 of 7 trials there have 0.85 or better"
    )
    alone = make_cut(HALVING, "val_loss", False, known[:1])
    assert alone(0, columns([1.5], "val_loss")) == (
        "pruned after 1 evaluation: val_loss 1.5, the best of 2 trials there has 0.9"
    )
    median = make_cut(Median(kind="median"), "val_accuracy", True, known)
    assert median(0, columns([0.1])) is None  # warm-up
    assert median(0, columns([0.77, 0.1, 0.1])) is None  # the best so far counts
    assert median(0, columns([0.3, 0.41, 0.4])) == (
        "pruned after 2 evaluations: val_accuracy 0.41 at best, the median of 6 trials there is 0.765"
    )


def test_an_answer_stays_the_same_when_it_is_asked_again_later() -> None:
    known = [known_from(number, 0.5 + number / 100, 0.6, 0.7, 0.8) for number in range(6)]
    for prune in (HALVING, Median(kind="median")):
        cut = make_cut(prune, "val_accuracy", True, known)
        said = cut(0, columns([0.1, 0.2]))
        assert said is not None
        assert cut(0, columns([0.1, 0.2, 0.99, 0.99])) == said


def test_a_trial_is_judged_by_trials_of_the_same_seed() -> None:
    known = [KnownCurves(number, "done", {0: [0.9, 0.9], 1: [0.2, 0.2]}) for number in range(6)]
    for prune in (HALVING, Median(kind="median")):
        cut = make_cut(prune, "val_accuracy", True, known)
        assert cut(0, columns([0.5, 0.5])) is not None
        assert cut(1, columns([0.5, 0.5])) is None
        assert cut(2, columns([0.1, 0.1])) is None


def test_who_counts() -> None:
    low = [0.5, 0.5]
    for prune in (SuccessiveHalving(kind="successive_halving", first=2), Median(kind="median", startup_trials=1)):
        for status in ("done", "pruned", "diverged", "failed"):
            cut = make_cut(prune, "val_accuracy", True, [known_from(0, 0.9, 0.9, status=status)])
            counts = status == "done" or (status in ("pruned", "diverged") and isinstance(prune, SuccessiveHalving))
            assert (cut(0, columns(low)) is not None) is counts, (prune, status)
        assert make_cut(prune, "val_accuracy", True, [])(0, columns(low)) is None
        short = make_cut(prune, "val_accuracy", True, [known_from(0, 0.9)])  # ended before the second evaluation
        assert short(0, columns(low)) is None


def test_a_value_that_is_no_number_ends_the_trial() -> None:
    known = [known_from(number, math.nan, 0.9) for number in range(6)]
    for prune, evaluations in ((HALVING, "1 evaluation"), (Median(kind="median"), "2 evaluations")):
        cut = make_cut(prune, "val_accuracy", True, known)
        assert cut(0, columns([math.nan, math.nan])) == f"pruned after {evaluations}: val_accuracy is not a number"
    assert make_cut(Median(kind="median", warmup=0), "val_accuracy", True, known)(0, columns([0.5])) is None


@pytest.mark.parametrize("prune", [HALVING, Median(kind="median")])
def test_a_cut_goes_to_another_process(prune: PrunerSpec) -> None:
    cut = make_cut(prune, "val_accuracy", True, [known_from(number, 0.8, 0.9) for number in range(6)])
    sent = pickle.loads(pickle.dumps(cut))
    assert sent == cut
    assert sent(0, columns([0.1, 0.2])) == cut(0, columns([0.1, 0.2])) is not None


def test_curves_are_read_off_a_run(tmp_path: Path) -> None:
    every: dict[str, Any] = {"evaluation": {"at_start": True, "every": {"steps": 5}}, "budget": {"steps": 20}}
    curve = fit_one(tmp_path, every).curve()
    assert curve["step"] == [0, 5, 10, 15, 20]
    accuracies = [value for value in curve["val_accuracy"] if value is not None]
    losses = [value for value in curve["val_loss"] if value is not None]
    assert curve_of("val_accuracy", curve) == accuracies[1:]
    assert curve_of("best_val_accuracy", curve) == [max(accuracies[1 : end + 1]) for end in range(1, 5)]
    assert curve_of("best_val_loss", curve) == [min(losses[1 : end + 1]) for end in range(1, 5)]
    with pytest.raises(
        UsageError, match=r"trials cannot be pruned by val_f1: there is no such column in step, .*val_loss"
    ):
        curve_of("val_f1", curve)
    assert curve_of("val_f1", {}) == []


def test_the_best_so_far_is_what_best_columns_are_pruned_by() -> None:
    known = [known_from(number, 0.9, 0.9, 0.9) for number in range(2)]
    swinging = columns([0.95, 0.95, 0.1])
    assert make_cut(HALVING, "best_val_accuracy", True, known)(0, swinging) is None
    assert make_cut(HALVING, "val_accuracy", True, known)(0, swinging) is not None


def test_a_pruner_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="the pruner Odd is no subclass of one of nnopt's"):
        make_cut(Odd(), "val_accuracy", True, [])
