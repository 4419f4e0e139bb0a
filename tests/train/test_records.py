"""What a run leaves: summary.json, environment.json, spec.yaml, run.log."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from running import SAMPLES, STEPS_AN_EPOCH, fit, fit_one, prepare, rows_of, weights_of

from nnopt.plan import Plan
from nnopt.spec.loading import load
from nnopt.train.again import evaluate_again
from nnopt.train.environment import _git
from nnopt.train.judging import take_bests

KEYS = {
    *("schema", "experiment", "variant", "seed", "tags", "notes", "status", "reason", "spec", "spec_hash"),
    *("hash_without_budget", "task", "select", "started", "ended", "diverged", "test", "metrics", "target"),
    *("seconds", "steps", "samples", "epochs", "gradient_evaluations", "memory_peak_bytes", "samples_per_second"),
    *("diagnosis", "parameters", "threads", "device", "data", "bits_promised", "bits_reason"),
    *("order", "machine", "energy_joules", "energy_source", "energy_reason"),
    *("nonzero_parameters", "network_bytes", "multiply_adds", "latency_seconds", "latency_p95_seconds"),
    *("batch_latency_seconds", "batch_latency_p95_seconds", "inference_samples_per_second", "inference_batch"),
    *("updates_per_second", "staleness_mean", "staleness_max", "drift"),
}


def test_the_summary_has_all_that_comparing_needs(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"tags": ["a", "b"], "notes": "why", "seeds": [3]})
    summary = record.summary
    assert set(summary) == KEYS
    assert (summary["schema"], summary["experiment"], summary["variant"], summary["seed"]) == (1, "small", "sgd", 3)
    assert (summary["tags"], summary["notes"], summary["status"]) == (["a", "b"], "why", "done")
    assert (summary["steps"], summary["samples"], summary["epochs"]) == (40, 2 * SAMPLES, 2.0)
    assert summary["gradient_evaluations"] == 40
    assert summary["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert summary["samples_per_second"] == pytest.approx(2 * SAMPLES / summary["seconds"]["train"], rel=1e-3)
    assert 50e6 < summary["memory_peak_bytes"] < 50e9
    assert summary["device"] == "cpu"
    assert summary["data"]["classes"] == [str(digit) for digit in range(10)]
    assert summary["target"] is None
    assert (summary["bits_promised"], summary["bits_reason"]) == (True, None)
    started, ended = (datetime.datetime.fromisoformat(summary[key]) for key in ("started", "ended"))
    assert started <= ended <= datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)


def test_metrics_of_the_summary_are_those_of_the_rows(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"optimizer": {"lr": 1.5}, "budget": {"epochs": 6}})
    rows = rows_of(record.folder / "metrics.csv")
    metrics = record.summary["metrics"]
    assert set(metrics) == {"train_loss", "val_loss", "val_accuracy"}
    for name, best in (("train_loss", min), ("val_loss", min), ("val_accuracy", max)):
        values = [float(row[name]) for row in rows]
        assert metrics[name]["last"] == values[-1]
        assert metrics[name]["best"] == best(values)
        assert metrics[name]["best_step"] == int(rows[values.index(best(values))]["step"]), "the first of equals"


def test_test_metrics_are_those_of_the_last_and_of_the_best_weights(tmp_path: Path) -> None:
    record = fit_one(
        tmp_path, {"optimizer": {"lr": 1.5}, "budget": {"epochs": 6}, "evaluation": {"select": "val_loss"}}
    )
    test = record.summary["test"]
    assert set(test) == {"last", "best", "confusion"}
    for which in ("last", "best"):
        step, result = evaluate_again(record.folder, which, "test")
        assert {name: test[which][name] for name in ("loss", "accuracy")} == result.values
        assert step == (record.summary["steps"] if which == "last" else test["best"]["step"])
    assert test["best"]["step"] == record.summary["metrics"]["val_loss"]["best_step"]
    confusion = torch.tensor(test["confusion"])
    assert int(confusion.sum()) == 359
    assert float(confusion.diagonal().sum() / confusion.sum()) == pytest.approx(test["last"]["accuracy"])
    _, validation = evaluate_again(record.folder, "last", "validation")
    assert validation.values["loss"] == float(rows_of(record.folder / "metrics.csv")[-1]["val_loss"])


def test_metrics_that_are_asked_for_have_columns(tmp_path: Path) -> None:
    metrics = ["accuracy", "top3_accuracy", "f1_macro", "recall_per_class"]
    record = fit_one(tmp_path, {"evaluation": {"metrics": metrics}})
    columns = rows_of(record.folder / "metrics.csv")[0]
    assert {"val_loss", "val_accuracy", "val_top3_accuracy", "val_f1_macro"} <= set(columns)
    assert sum(name.startswith("val_recall_class_") for name in columns) == 10
    assert set(record.summary["test"]["last"]) == {name.removeprefix("val_") for name in columns if "val_" in name}


def test_regression_reports_errors_in_the_targets_units(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "data": {"kind": "diabetes"},
        "loss": {"kind": "mse"},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "budget": {"epochs": 30},
    }
    record = fit_one(tmp_path, changes)
    last = record.summary["test"]["last"]
    _, setup, state = prepare(tmp_path, changes)
    state.model.load_state_dict(weights_of(record.folder))
    with torch.no_grad():
        errors = state.model.eval()(setup.data.test.inputs) - setup.data.test.targets
    assert last["mae"] == pytest.approx(float((errors * setup.data.target_scale).abs().mean()), rel=1e-5)
    assert 20 < last["mae"] < 80, "the disease's progression is a number between 25 and 346"
    assert record.summary["select"] == "val_loss"


def test_bests_are_first_and_follow_the_metrics_direction() -> None:
    bests: dict[str, Any] = {}
    rows = [(10, 0.5, 1.0, None), (20, 0.7, 1.0, 3.0), (30, 0.7, 0.5, 4.0), (40, 0.1, 0.6, 1.0)]
    better = [
        take_bests({"step": step, "val_accuracy": acc, "val_loss": loss, "train_loss": train, "lr": 1.0}, bests)
        for step, acc, loss, train in rows
    ]
    assert better == [{"val_accuracy", "val_loss"}, {"val_accuracy", "train_loss"}, {"val_loss"}, {"train_loss"}]
    assert bests["val_accuracy"] == {"value": 0.7, "step": 20}
    assert bests["val_loss"] == {"value": 0.5, "step": 30}
    assert bests["train_loss"] == {"value": 1.0, "step": 40}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"budget": {"seconds": 0.02}}, "budget is in seconds"),
        ({"evaluation": {"every": {"seconds": 0.02}}}, "evaluation.every is in seconds"),
        (
            {"strategy": {"average": {"kind": "swa", "every": {"seconds": 0.01}}}},
            "strategy.average.every is in seconds",
        ),
    ],
)
def test_where_time_decides_bits_are_not_promised(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    record = fit_one(tmp_path, changes)
    assert (record.summary["bits_promised"], record.summary["bits_reason"]) == (False, reason)


def test_the_environment_says_where_and_with_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = fit_one(tmp_path)
    found = json.loads((record.folder / "environment.json").read_text())
    assert set(found) == {
        *("nnopt", "python", "packages", "host", "system", "processor", "cores", "command", "omp_num_threads"),
        *("git", "device", "device_name", "threads", "data", "plugins"),
    }
    assert found["packages"]["torch"] == torch.__version__
    assert found["data"] == {"kind": "digits", "sha256": record.summary["data"]["sha256"]}
    assert re.fullmatch(r"[0-9a-f]{64}", found["data"]["sha256"])
    assert found["threads"] == 1
    assert found["plugins"] == {}
    machine = record.summary["machine"]
    assert set(machine) == {"host", "processor", "device_name", "cores", "nnopt", "python", "torch"}
    assert {**machine, "torch": ""} == {**{key: found[key] for key in machine if key != "torch"}, "torch": ""}
    assert machine["torch"] == torch.__version__


def test_the_summary_has_the_variants_place_in_its_file(tmp_path: Path) -> None:
    changes = {"seeds": 2, "budget": {"epochs": 1}, "variants": {"b": {}, "a": {"optimizer": {"lr": 0.2}}}}
    records = fit(tmp_path, changes)
    assert [(record.variant, record.summary["order"]) for record in records] == [("b", 0), ("a", 1)] * 2


def test_git_commit_and_changes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
        done = subprocess.run(["git", *settings, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    monkeypatch.chdir(tmp_path)
    _git.cache_clear()
    assert _git() is None, "outside of a checkout"
    git("init", "--quiet")
    (tmp_path / "model.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (tmp_path / "model.py").write_text("a = 2\n")
    _git.cache_clear()
    found = _git()
    _git.cache_clear()
    assert found is not None
    assert found["commit"] == git("rev-parse", "HEAD")
    assert "-a = 1\n+a = 2\n" in found["diff"]
    assert found["diff_cut"] is False


def test_the_spec_of_a_run_is_whole_and_hashes_alike(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"seeds": [7], "strategy": {"lr_decay": {"kind": "cosine"}}})
    (run,) = Plan.of(load(record.folder / "spec.yaml")).runs
    assert run.hash == record.spec_hash
    assert (run.variant, run.seed) == ("sgd", 7)
    assert run.settings_as_keys() == record.summary["spec"]


def test_columns_come_in_their_order(tmp_path: Path) -> None:
    record = fit_one(tmp_path)
    header = (record.folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert header[:8] == ["step", "epoch", "samples", "train_seconds", "lr", "train_loss", "val_loss", "val_accuracy"]
    assert (record.folder / "steps.csv").read_text().splitlines()[0] == "step,loss,lr,grad_norm"
    curve = record.curve()
    assert all(None not in curve[name] for name in ("step", "samples", "train_seconds"))
    assert len(record.steps()["step"]) == 2 * STEPS_AN_EPOCH


def test_a_failure_leaves_its_traceback_in_the_log_and_a_line_in_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def broken(session: Any) -> str:
        calls.append(session.run.seed)
        if session.run.seed == 0:
            raise ZeroDivisionError("first line\nsecond line")
        return "the budget is used up"

    monkeypatch.setattr("nnopt.train.runner.train", broken)
    first, second = fit(tmp_path, {"seeds": 2})
    assert calls == [0, 1], "the other goes on"
    assert (first.status, second.status) == ("failed", "done")
    assert first.summary["reason"] == "ZeroDivisionError: first line"
    log = (first.folder / "run.log").read_text()
    assert "Traceback (most recent call last):" in log
    assert "in broken" in log
    monkeypatch.undo()
    assert fit(tmp_path, {"seeds": 2})[0].status == "done", "a failed run is tried again"


def test_warnings_of_libraries_go_to_the_log_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnopt.train import loop

    judge = loop.judge

    def warning(session: Any, lr: float) -> None:
        warnings.warn("the moon is full", RuntimeWarning, stacklevel=2)
        judge(session, lr)

    monkeypatch.setattr(loop, "judge", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        record = fit_one(tmp_path)
    log = (record.folder / "run.log").read_text()
    assert log.count("warning: RuntimeWarning: the moon is full") == 1


def test_every_line_of_the_log_has_its_time(tmp_path: Path) -> None:
    record = fit_one(tmp_path)
    lines = (record.folder / "run.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["started on cpu", "done: the budget is used up"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
