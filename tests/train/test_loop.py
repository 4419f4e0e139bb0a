"""The loop: what is evaluated when, what a row holds, when a run ends, what counts as time."""

from __future__ import annotations

import importlib
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from running import SAMPLES, STEPS_AN_EPOCH, StopAfter, Told, fit, fit_one, open_session, rows_of

from nnopt.errors import Interrupted
from nnopt.spec.strategy import EarlyStopping, StrategySpec
from nnopt.spec.timing import Budget, Every
from nnopt.store.record import read_columns
from nnopt.train import judging, loop
from nnopt.train.clock import ACCOUNTS, Clock
from nnopt.train.horizon import Horizon, Period
from nnopt.train.stopping import Stopping


def column(record: Any, name: str, file: str = "metrics.csv") -> list[float]:
    return [float(row[name]) for row in rows_of(record.folder / file)]


# --------------------------------------------------------------------------------------------- evaluations


@pytest.mark.parametrize(
    ("every", "budget", "steps"),
    [
        ({"epochs": 1}, {"epochs": 3}, [20, 40, 60]),
        ({"epochs": 0.5}, {"epochs": 2}, [10, 20, 30, 40]),
        ({"epochs": 1.5}, {"epochs": 3}, [30, 60]),
        ({"epochs": 2}, {"epochs": 3}, [40, 60]),
        ({"steps": 15}, {"epochs": 2}, [15, 30, 40]),
        ({"steps": 15}, {"steps": 31}, [15, 30, 31]),
        ({"epochs": 1}, {"steps": 7}, [7]),
        ({"epochs": 0.01}, {"steps": 3}, [1, 2, 3]),
        ({"seconds": 1000}, {"steps": 9}, [9]),
    ],
)
def test_rows_are_written_at_the_multiples_and_at_the_end(
    tmp_path: Path, every: dict[str, float], budget: dict[str, int], steps: list[int]
) -> None:
    record = fit_one(tmp_path, {"evaluation": {"every": every}, "budget": budget})
    assert column(record, "step") == steps


def test_evaluations_can_be_timed_in_seconds(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"evaluation": {"every": {"seconds": 0.05}}, "budget": {"seconds": 0.28}})
    assert 3 <= len(column(record, "step")) <= 7
    assert record.summary["bits_promised"] is False


def test_an_evaluation_at_the_start_is_of_the_initial_weights(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"evaluation": {"at_start": True}})
    first = rows_of(record.folder / "metrics.csv")[0]
    assert (first["step"], first["samples"], first["epoch"]) == ("0", "0", "0.0")
    assert first["train_loss"] == first["grad_norm"] == first["generalisation_gap"] == ""
    assert float(first["val_loss"]) == pytest.approx(math.log(10), rel=0.05)
    (tmp_path / "plain").mkdir()
    plain = fit_one(tmp_path / "plain")
    assert rows_of(record.folder / "metrics.csv")[1:] == rows_of(plain.folder / "metrics.csv")


def test_samples_and_epochs_count_what_was_taken(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"evaluation": {"every": {"steps": 5}}})
    taken = [(step // 20) * SAMPLES + (step % 20) * 64 for step in range(5, 41, 5)]  # 6 in the last of an epoch
    assert column(record, "samples") == taken
    assert column(record, "epoch") == [count / SAMPLES for count in taken]
    assert record.summary["epochs"] == 2.0


def test_training_loss_is_the_mean_over_the_steps_since_the_last_row(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"evaluation": {"every": {"steps": 7}}})
    losses = column(record, "loss", "steps.csv")
    norms = column(record, "grad_norm", "steps.csv")
    ends = [7, 14, 21, 28, 35, 40]
    for name, values in (("train_loss", losses), ("grad_norm", norms)):
        means = [math.fsum(values[a:b]) / (b - a) for a, b in zip([0, *ends], ends, strict=False)]
        assert column(record, name) == pytest.approx(means, rel=1e-12)
    gaps = [v - t for v, t in zip(column(record, "val_loss"), column(record, "train_loss"), strict=True)]
    assert column(record, "generalisation_gap") == gaps


def test_steps_are_logged_as_often_as_told_and_the_mean_takes_all(tmp_path: Path) -> None:
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    for folder in (often, seldom):
        folder.mkdir()
    one = fit_one(often)
    other = fit_one(seldom, {"logging": {"every": 8}})
    assert column(other, "step", "steps.csv") == [1, 8, 16, 24, 32, 40]
    assert column(other, "train_loss") == column(one, "train_loss")


def test_a_target_is_recorded_at_the_first_row_that_reaches_it(tmp_path: Path) -> None:
    keys = {"budget": {"epochs": 6}, "evaluation": {"target": {"metric": "val_accuracy", "value": 0.6}}}
    record = fit_one(tmp_path, keys)
    rows = rows_of(record.folder / "metrics.csv")
    first = next(row for row in rows if float(row["val_accuracy"]) >= 0.6)
    assert first is not rows[0]
    assert first is not rows[-1]
    target = record.summary["target"]
    assert target["reached"] is True
    assert target["step"] == int(first["step"])
    assert target["epoch"] == float(first["epoch"])
    assert target["samples"] == int(first["samples"])
    assert target["gradient_evaluations"] == int(first["gradient_evaluations"])
    assert 0 < target["seconds"] < record.summary["seconds"]["train"]


@pytest.mark.parametrize(("metric", "value", "reached"), [("val_loss", 1e-9, False), ("val_loss", 2.27, True)])
def test_a_target_where_less_is_better(tmp_path: Path, metric: str, value: float, reached: bool) -> None:
    record = fit_one(tmp_path, {"evaluation": {"target": {"metric": metric, "value": value}}})
    assert record.summary["target"]["reached"] is reached
    assert ("step" in record.summary["target"]) == reached


@pytest.mark.parametrize(
    ("changes", "tests"),
    [
        ({"budget": {"epochs": 3}}, ["test"]),  # the last weights are the best ones
        (
            {
                "budget": {"epochs": 3},
                "optimizer": {"kind": "adam", "lr": 30.0},  # much too high: the initial weights are the best ones
                "evaluation": {"at_start": True, "select": "val_loss"},
            },
            ["test", "test"],
        ),
    ],
    ids=["last is best", "best is earlier"],
)
def test_the_test_data_is_read_once_for_each_set_of_weights_when_the_run_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], tests: list[str]
) -> None:
    events: list[str] = []
    evaluate = judging.evaluate

    def noting(model: Any, part: Any, data: Any, *rest: Any) -> Any:
        events.extend(name for name in ("train", "validation", "test") if getattr(data, name) is part)
        return evaluate(model, part, data, *rest)

    class Noting(Told):
        def ended(self, label: str, status: str, reason: str) -> None:
            events.append(status)

    monkeypatch.setattr(judging, "evaluate", noting)
    with pytest.raises(Interrupted):
        fit(tmp_path, changes, StopAfter(2))
    assert set(events) == {"validation"}
    fit(tmp_path, changes, Noting())
    validations = 4 if "evaluation" in changes else 3
    assert events == ["validation"] * validations + tests + ["done"]
    fit(tmp_path, changes, Noting())
    assert events[-1] == "done", "a finished run is not read again"


# ------------------------------------------------------------------------------------------------ budgets


def test_a_budget_of_seconds_is_kept_and_its_last_row_is_of_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking(monkeypatch, 0.001)
    record = fit_one(tmp_path, {"budget": {"seconds": 0.3}, "evaluation": {"every": {"seconds": 0.1}}})
    seconds = record.summary["seconds"]["train"]
    assert 0.3 <= seconds < 0.32
    assert record.curve()["train_seconds"] == pytest.approx([0.1, 0.2, 0.3], abs=0.02)
    assert record.summary["reason"] == "the budget is used up"
    assert column(record, "step")[-1] == record.summary["steps"]
    assert len(column(record, "step", "steps.csv")) == record.summary["steps"]
    assert record.summary["bits_promised"] is False
    assert record.summary["bits_reason"] == "budget is in seconds"


def test_a_budget_that_runs_out_between_two_looks_at_the_clock_still_ends_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock says 'not yet' after the update and 'over' at the next look, a moment later."""
    session = open_session(tmp_path, {"budget": {"seconds": 1000.0}, "evaluation": {"every": {"steps": 10}}})
    looks = 0

    def used_up(self: Horizon, step: int, samples: int, seconds: float) -> bool:
        nonlocal looks
        looks += step == 13
        return step == 13 and looks > 1

    monkeypatch.setattr(Horizon, "used_up", used_up)
    loop.train(session)
    assert [row["step"] for row in rows_of(tmp_path / "metrics.csv")] == ["10", "13"]
    assert len(rows_of(tmp_path / "steps.csv")) == 13


def test_a_resumed_budget_of_seconds_counts_what_was_trained_before(tmp_path: Path) -> None:
    keys = {"budget": {"seconds": 2.0}, "evaluation": {"every": {"seconds": 0.1}}}
    with pytest.raises(Interrupted):
        fit(tmp_path, keys, StopAfter(2))
    (path,) = (tmp_path / "runs").glob("*/*/*/metrics.csv")
    before = [row for row in read_columns(path)["train_seconds"] if row is not None]
    record = fit_one(tmp_path, keys)
    seconds = [row for row in record.curve()["train_seconds"] if row is not None]
    assert len(before) == 2
    assert seconds[:2] == before
    assert seconds == sorted(seconds)  # the second sitting counts on from the first
    assert record.summary["seconds"]["train"] >= 2.0


def horizon(budget: dict[str, Any], **strategy: Any) -> Horizon:
    return Horizon(Budget(**budget), StrategySpec(**strategy), SAMPLES)


def test_the_rate_of_a_constant_batch_steps_by_updates() -> None:
    plan = horizon({"epochs": 2}, batch_size=64)
    assert plan.shares(0, 0, 0.0) == (0.0, 1 / 40)
    assert plan.shares(39, 2 * SAMPLES - 6, 0.0) == (39 / 40, 1.0)


def test_the_rate_of_a_growing_batch_follows_samples() -> None:
    plan = horizon({"epochs": 2}, batch_size={"start": 100, "factor": 2, "at": [0.5]})
    assert plan.shares(5, SAMPLES, 0.0) == (0.5, 0.5 + 200 / (2 * SAMPLES))
    assert plan.shares(99, 2 * SAMPLES - 6, 0.0)[1] == 1.0


@pytest.mark.parametrize("epochs", [0.1, 0.25, 0.3, 1 / 3, 0.7, 1.0, 2.5])
def test_no_multiple_of_an_epoch_is_missed_or_counted_twice(epochs: float) -> None:
    period, passed = Period(Every(epochs=epochs), SAMPLES), []
    for step in range(1, 10 * STEPS_AN_EPOCH + 1):
        samples = (step // STEPS_AN_EPOCH) * SAMPLES + (step % STEPS_AN_EPOCH) * 64
        passed.append(period.passed(step, samples, 0.0))
    assert passed[-1] == math.floor(10 / epochs + 1e-6)
    assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(passed))


# ----------------------------------------------------------------------------------------- growing batches


def test_growing_batches_follow_their_schedule_and_epochs_stay_exact(tmp_path: Path) -> None:
    keys = {
        "strategy": {"batch_size": {"start": 100, "factor": 3, "at": [0.25, 0.6]}},
        "budget": {"epochs": 4},
        "evaluation": {"every": {"steps": 1}},
    }
    record = fit_one(tmp_path, keys)
    samples = column(record, "samples")
    taken, total = 0, 4 * SAMPLES
    for reached in samples:
        wanted = 100 * 3 ** sum(taken / total >= point for point in (0.25, 0.6))
        left_of_the_epoch = SAMPLES - taken % SAMPLES
        assert reached - taken == min(wanted, left_of_the_epoch)
        taken = int(reached)
    assert taken == total
    assert {SAMPLES, 2 * SAMPLES, 3 * SAMPLES, total} <= set(samples), "every epoch ends exactly"
    assert record.summary["epochs"] == 4.0


def test_a_batch_that_grows_to_the_whole_set_takes_it(tmp_path: Path) -> None:
    keys = {"strategy": {"batch_size": {"start": 611, "factor": 2, "at": [0.5]}}, "budget": {"epochs": 4}}
    record = fit_one(tmp_path, keys)
    assert record.summary["steps"] == 2 + 2 + 1 + 1


# ---------------------------------------------------------------------------------- rates, plateau, stopping


def test_the_rate_of_every_update_is_the_schedules(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"strategy": {"lr_decay": {"kind": "cosine", "warmup": 0.1}}})
    rates = column(record, "lr", "steps.csv")
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1], rel=1e-9), "the first update is not lost"
    expected = [0.1 * (1 + math.cos(math.pi * (step - 4) / 36)) / 2 for step in range(4, 40)]
    assert rates[4:] == pytest.approx(expected, rel=1e-9)


def test_plateau_lowers_the_rate_after_its_patience(tmp_path: Path) -> None:
    decay = {"kind": "plateau", "metric": "val_loss", "patience": 2, "factor": 0.5, "min_delta": 100.0}
    keys = {"strategy": {"lr_decay": decay}, "evaluation": {"every": {"steps": 5}}}
    rates = column(fit_one(tmp_path, keys), "lr", "steps.csv")
    # No loss improves by 100: the first row is the best, and each two rows after it halve the rate.
    assert rates == [0.1] * 15 + [0.05] * 10 + [0.025] * 10 + [0.0125] * 5


def test_early_stopping_ends_the_run_after_its_patience(tmp_path: Path) -> None:
    stopping = {"metric": "val_loss", "patience": 3, "min_delta": 100.0}
    record = fit_one(tmp_path, {"strategy": {"early_stopping": stopping}, "budget": {"epochs": 50}})
    assert column(record, "step") == [20, 40, 60, 80]
    assert record.summary["reason"] == "stopped early: val_loss did not improve for 3 evaluations"
    assert record.summary["test"]["last"] is not None
    told = Told()
    fit(tmp_path, {"strategy": {"early_stopping": stopping}, "budget": {"epochs": 50}}, told)
    assert told.words == [("skipped", "small/sgd/seed-0", "done")]


@pytest.mark.parametrize(
    ("metric", "values", "waited"),
    [
        ("val_accuracy", [0.5, 0.75, 0.75, 0.875], [0, 0, 1, 2]),  # 0.875 is not better by more than 0.125
        ("val_accuracy", [0.5, 0.75, 0.8, 0.9], [0, 0, 1, 0]),
        ("val_loss", [1.0, 0.75, 0.7, 0.5, math.nan], [0, 0, 1, 0, 1]),
        ("val_loss", [math.nan, 1.0], [1, 0]),
    ],
)
def test_patience_counts_rows_without_improvement(metric: str, values: list[float], waited: list[int]) -> None:
    stopping = Stopping(EarlyStopping(metric=metric, patience=2, min_delta=0.125))
    found = []
    for value in values:
        stopping.update(value)
        found.append(stopping.waited)
        assert stopping.reached == (stopping.waited >= 2)
    assert found == waited


# --------------------------------------------------------------------------------------------------- time


def ticking(monkeypatch: pytest.MonkeyPatch, tick: float) -> Callable[[float], None]:
    """A clock that each look moves on by `tick` seconds, on any machine; what comes back lets time pass."""
    now = 100.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    def look() -> float:
        wait(tick)
        return now

    monkeypatch.setattr(time, "perf_counter", look)
    return wait


def test_just_one_account_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    clock = Clock(torch.device("cpu"))
    now += 0.5
    clock.switch("train")
    now += 2
    with clock.account("logging"):
        now += 4
        with clock.account("checkpoint"):
            now += 8
        assert clock.read("train") == 2
    now += 1
    assert clock.read("train") == 3
    clock.switch("setup")
    expected = {"setup": 0.5, "train": 3, "logging": 4, "checkpoint": 8}
    assert clock.seconds == dict.fromkeys(ACCOUNTS, 0.0) | expected


def test_the_accounts_of_a_run_add_up_to_its_wall_time(tmp_path: Path) -> None:
    session = open_session(tmp_path, {"budget": {"epochs": 10}, "checkpoint": {"every": {"steps": 30}}})
    clock = session.state.clock
    before, begun = sum(clock.seconds.values()), time.perf_counter()
    clock.switch("setup")
    counted = sum(clock.seconds.values())
    loop.train(session)
    clock.switch("setup")
    wall = time.perf_counter() - begun
    assert counted >= before
    assert sum(clock.seconds.values()) - counted == pytest.approx(wall, rel=0.05, abs=0.05)
    assert all(clock.seconds[name] > 0 for name in ("train", "evaluation", "logging", "checkpoint"))


@pytest.mark.parametrize(
    ("what", "account"),
    [
        ("nnopt.train.judging.evaluate_part", "evaluation"),
        ("nnopt.train.checkpoint.save_last", "checkpoint"),
        ("nnopt.train.runner._begin_tracking", "logging"),
    ],
)
def test_what_is_slow_beside_training_does_not_count_as_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, account: str
) -> None:
    module, _, name = what.rpartition(".")
    original = getattr(importlib.import_module(module), name)
    wait = ticking(monkeypatch, 1e-6)

    def slow(*args: Any) -> Any:
        wait(100.0)
        return original(*args)

    monkeypatch.setattr(what, slow)
    record = fit_one(tmp_path)
    seconds = record.summary["seconds"]
    assert seconds[account] > 100
    assert 0 < seconds["train"] < 1
    rows = (record.folder / "metrics.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[3]) == pytest.approx(seconds["train"], abs=5e-3), "train_seconds is that account"


def test_train_seconds_never_fall_over_a_resume(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, {"budget": {"epochs": 6}}, StopAfter(3))
    record = fit_one(tmp_path, {"budget": {"epochs": 6}})
    seconds = [value for value in record.curve()["train_seconds"] if value is not None]
    assert len(seconds) == 6
    assert seconds == sorted(seconds)
    assert all(value > 0 for value in seconds)


def test_a_watcher_hears_how_the_run_is_doing(tmp_path: Path) -> None:
    moments = []

    class Watching(Told):
        def moment(self, label: str, moment: Any) -> None:
            moments.append(moment)

    fit_one(tmp_path, {"budget": {"seconds": 0.5}, "evaluation": {"every": {"seconds": 10}}}, Watching())
    assert 2 <= len(moments) <= 8, "about ten times a second"
    assert all(0 < moment.share <= 1 and moment.loss > 0 and moment.lr == 0.1 for moment in moments)
    assert [moment.step for moment in moments] == sorted(moment.step for moment in moments)
