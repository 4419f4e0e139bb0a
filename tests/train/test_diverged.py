"""A loss that is not finite ends its run as diverged, and only that."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from running import Starter, StopAfter, Told, fit, open_session, rows_of, summary_of, write_digits

from nnopt.errors import DivergedError, Interrupted
from nnopt.train import judging, loop

# A quadratic loss on a linear model with a rate far too high: the loss grows by a factor a step until it overflows.
SPEC: dict[str, Any] = {
    "loss": {"kind": "mse"},
    "model": {"kind": "linear"},
    "budget": {"epochs": 5},
    "evaluation": {"every": {"steps": 10}},
    "variants": {"wild": {"optimizer": {"lr": 1e4}}, "tame": {"optimizer": {"lr": 0.05}}},
}


def test_it_names_the_step_and_the_last_good_loss_and_the_others_go_on(tmp_path: Path, starter: Starter) -> None:
    process = starter.run(tmp_path, "train", write_digits(tmp_path, SPEC), code=1)
    wild, tame = (tmp_path / "runs" / "small" / name / "seed-0" for name in ("wild", "tame"))
    summary = summary_of(wild)
    assert summary["status"] == "diverged"
    assert summary_of(tame)["status"] == "done"

    rows = rows_of(wild / "steps.csv")
    diverged = summary["diverged"]
    assert [int(row["step"]) for row in rows] == list(range(1, diverged["step"])), "every step before it is logged"
    losses = [float(row["loss"]) for row in rows]
    assert all(map(math.isfinite, losses))
    assert losses[-1] > 1e30, "the next one overflows"
    assert diverged["last_loss"] == losses[-1]
    assert f"not finite at step {diverged['step']}; the last good loss was {losses[-1]:.6g}" in summary["reason"]
    assert summary["test"] is None
    # Evaluations before the end stand; none is not finite.
    assert all(math.isfinite(float(row["val_loss"])) for row in rows_of(wild / "metrics.csv"))
    assert "small/wild/seed-0: diverged" in process.stderr

    table = list(csv.DictReader((tmp_path / "runs/small/comparison.csv").read_text().splitlines()))
    assert [row["variant"] for row in table] == ["tame", "wild"], "the diverged one is shown, and ranks last"
    assert "1 of 1 diverged" in (tmp_path / "runs/small/comparison.md").read_text()

    again = starter.run(tmp_path, "train", "spec.yaml", code=1)
    assert "small/wild/seed-0: diverged before, skipped" in again.stderr
    assert "small/tame/seed-0: done before, skipped" in again.stderr


def test_two_diverged_runs_of_one_spec_leave_the_same_rows(tmp_path: Path) -> None:
    rows = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        wild = fit(tmp_path / name, SPEC)[0]
        rows.append([rows_of(wild.folder / file) for file in ("metrics.csv", "steps.csv")])
        rows[-1].append(wild.summary["diverged"])
    assert rows[0] == rows[1]


def test_a_diverging_run_that_was_stopped_diverges_at_the_same_step(tmp_path: Path) -> None:
    changes = SPEC | {"variants": {"wild": {"optimizer": {"lr": 2.0}, "model": {"kind": "linear"}}}}
    changes["budget"] = {"epochs": 200}
    (whole,) = fit(tmp_path, changes)
    assert whole.status == "diverged"
    (tmp_path / "again").mkdir()
    with pytest.raises(Interrupted):
        fit(tmp_path / "again", changes, StopAfter(2))
    (again,) = fit(tmp_path / "again", changes)
    assert again.summary["diverged"] == whole.summary["diverged"]
    assert rows_of(again.folder / "steps.csv") == rows_of(whole.folder / "steps.csv")


def test_fail_fast_leaves_the_rest(tmp_path: Path, starter: Starter) -> None:
    starter.run(tmp_path, "train", write_digits(tmp_path, SPEC), "--fail-fast", code=1)
    assert (tmp_path / "runs" / "small" / "wild").exists()
    assert not (tmp_path / "runs" / "small" / "tame").exists()


def test_the_listener_hears_why(tmp_path: Path) -> None:
    told = Told()
    fit(tmp_path, SPEC, told)
    (reason,) = [words[3] for words in told.words if words[:3] == ("ended", "small/wild/seed-0", "diverged")]
    assert reason.startswith("the loss is not finite at step ")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_validation_loss_that_is_not_finite_diverges_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    evaluate = judging.evaluate

    def broken(*args: Any) -> Any:
        result = evaluate(*args)
        result.values["loss"] = bad
        return result

    monkeypatch.setattr(judging, "evaluate", broken)
    session = open_session(tmp_path)
    with pytest.raises(DivergedError) as caught:
        loop.train(session)
    assert caught.value.step == 20
    assert caught.value.last_loss == session.state.progress.last_loss
