"""What a second program, a changed spec, a larger budget and --fresh do to a folder that is there."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from running import (
    Starter,
    StopAfter,
    Told,
    assert_same_bits,
    fit,
    fit_one,
    plan_of,
    rows_of,
    summary_of,
    wait_for,
    weights_of,
    write_digits,
)

from nnopt.errors import HeldError, Interrupted
from nnopt.store.files import write_json
from nnopt.store.find import read_run, run_folders
from nnopt.store.lock import HOLDER
from nnopt.store.place import place
from nnopt.train import checkpoint

ENDLESS: dict[str, Any] = {"budget": {"steps": 10**7}, "evaluation": {"every": {"steps": 10**7}}}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------- two programs


def test_the_second_program_says_who_holds_the_folder(tmp_path: Path, starter: Starter) -> None:
    write_digits(tmp_path, ENDLESS)
    folder = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    first = starter.start(tmp_path, "train", "spec.yaml")
    wait_for(lambda: (folder / "steps.csv").exists())
    second = starter.run(tmp_path, "train", "spec.yaml", "--quiet", code=2)
    (line,) = second.stderr.splitlines()
    assert line.startswith(f"error: {folder} is being written by process {first.pid} on ")
    assert "nnopt train spec.yaml" in line
    assert "running" in starter.run(tmp_path, "list").stdout, "and --fresh does not pull it from under its feet:"
    assert f"process {first.pid}" in starter.run(tmp_path, "train", "spec.yaml", "--fresh", code=2).stderr
    first.send(signal.SIGTERM)
    assert first.wait() == 143


def test_a_run_whose_program_was_killed_is_interrupted_and_goes_on(tmp_path: Path, starter: Starter) -> None:
    write_digits(tmp_path, ENDLESS)
    folder = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    process = starter.start(tmp_path, "train", "spec.yaml", "checkpoint.every={steps: 50}")
    wait_for(lambda: (folder / "checkpoints" / "last.pt").exists())
    process.send(signal.SIGKILL)
    process.wait()
    assert summary_of(folder)["status"] == "running", "nobody could write otherwise"
    assert (folder / HOLDER).exists()
    listed = starter.run(tmp_path, "list").stdout
    assert "interrupted" in listed
    assert "running" not in listed
    again = starter.start(tmp_path, "train", "spec.yaml", "checkpoint.every={steps: 50}")
    wait_for(lambda: "goes on from step" in again.stderr)
    again.send(signal.SIGINT)
    assert again.wait() == 130


def test_a_pid_that_another_program_has_now_does_not_hold_a_run(tmp_path: Path) -> None:
    record = fit_one(tmp_path)
    write_json(record.folder / "summary.json", record.summary | {"status": "running"})
    holder = {"pid": os.getpid(), "host": os.uname().nodename, "process_started": 1.0}
    write_json(record.folder / HOLDER, holder)
    assert read_run(record.folder).status == "interrupted"
    write_json(record.folder / HOLDER, holder | {"host": "elsewhere"})
    assert read_run(record.folder).status == "running", "what runs on another host cannot be looked at"
    (record.folder / HOLDER).write_text("{")
    assert read_run(record.folder).status == "interrupted"


def test_a_folder_taken_between_looking_and_locking_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program finishes the run just before this one takes the lock: skipped, not trained again."""
    finished = fit_one(tmp_path)
    before = contents(finished.folder)
    looks = [place(plan_of(tmp_path, {"seeds": [5]}).runs[0], tmp_path / "runs")]  # a first look finds nothing

    def looking(run: Any, runs_dir: Path) -> Any:
        return looks.pop() if looks else place(run, runs_dir)

    monkeypatch.setattr("nnopt.train.experiment.place", looking)
    told = Told()
    fit(tmp_path, listener=told)
    assert told.words == [("skipped", "small/sgd/seed-0", "done")]
    assert {name: data for name, data in contents(finished.folder).items() if not name.startswith(".")} == {
        name: data for name, data in before.items() if not name.startswith(".")
    }


def test_a_held_folder_ends_the_plan(tmp_path: Path) -> None:
    from nnopt.store.lock import RunLock

    folder = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    folder.mkdir(parents=True)
    with RunLock(folder), pytest.raises(HeldError, match=f"process {os.getpid()} on"):
        fit(tmp_path)


# ------------------------------------------------------------------------------------- done, fresh, changed


def test_a_second_training_skips_what_is_done_and_touches_nothing(tmp_path: Path, starter: Starter) -> None:
    write_digits(tmp_path, {"seeds": 2})
    starter.run(tmp_path, "train", "spec.yaml")
    top = tmp_path / "runs" / "small"
    before = contents(top / "sgd")
    again = starter.run(tmp_path, "train", "spec.yaml", "seeds=3")
    assert [line for line in again.stderr.splitlines() if "skipped" in line] == [
        "[1/3] small/sgd/seed-0: done before, skipped",
        "[2/3] small/sgd/seed-1: done before, skipped",
    ]
    after = contents(top / "sgd")
    assert {name: after[name] for name in before} == before
    assert summary_of(top / "sgd" / "seed-2")["status"] == "done"


def test_fresh_sets_the_old_folder_aside_and_gives_the_same_bits(tmp_path: Path) -> None:
    old = fit_one(tmp_path)
    before = contents(old.folder)
    (new,) = fit(tmp_path, fresh=True)
    fit(tmp_path, fresh=True)
    aside = sorted((tmp_path / "runs" / ".aside" / "small" / "sgd").iterdir())
    assert len(aside) == 2
    kept = contents(aside[0])
    assert {name: kept[name] for name in before if not name.startswith(".")} == {
        name: data for name, data in before.items() if not name.startswith(".")
    }
    assert_same_bits(aside[0], new.folder)
    assert run_folders(tmp_path / "runs") == [new.folder], "what was set aside is no run any more"


def test_a_changed_spec_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    old = fit_one(tmp_path)
    before = contents(old.folder)
    changed = {"optimizer": {"lr": 0.2}}
    new = fit_one(tmp_path, changed)
    assert new.folder.name == f"seed-0-{plan_of(tmp_path, changed).runs[0].hash[:8]}"
    assert contents(old.folder) == before
    told = Told()
    fit(tmp_path, changed, told)
    fit(tmp_path, {}, told)
    assert [words[0] for words in told.words] == ["skipped", "skipped"], "both are known again"
    assert len(run_folders(tmp_path / "runs")) == 2


def test_keys_that_do_not_identify_a_run_change_no_folder(tmp_path: Path) -> None:
    fit_one(tmp_path)
    told = Told()
    fit(tmp_path, {"checkpoint": {"every": {"steps": 3}}, "logging": {"every": 7}, "notes": "again"}, told)
    assert told.words == [("skipped", "small/sgd/seed-0", "done")]


def test_files_of_somebody_else_are_not_touched(tmp_path: Path) -> None:
    usual = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    usual.mkdir(parents=True)
    (usual / "thesis.txt").write_text("all of it")
    record = fit_one(tmp_path)
    assert record.folder.name.startswith("seed-0-")
    assert contents(usual) == {"thesis.txt": b"all of it"}


# ------------------------------------------------------------------------------------------- larger budgets

STATE: dict[str, Any] = {
    "optimizer": {"kind": "adam", "lr": 0.01},
    "model": {"dropout": 0.2, "norm": "batch"},
    "strategy": {"average": {"kind": "ema", "decay": 0.9}},
    "evaluation": {"target": {"metric": "val_accuracy", "value": 0.8}},
}


@pytest.mark.parametrize(
    ("short", "long", "decay"),
    [
        ({"epochs": 2}, {"epochs": 5}, {"kind": "constant"}),
        ({"steps": 40}, {"steps": 90}, {"kind": "constant"}),
        ({"epochs": 3}, {"epochs": 6}, {"kind": "plateau", "patience": 1, "min_delta": 0.5}),
    ],
)
def test_a_larger_budget_goes_on_from_the_end_to_the_same_bits(
    tmp_path: Path, short: dict[str, int], long: dict[str, int], decay: dict[str, Any]
) -> None:
    keys = STATE | {"strategy": STATE["strategy"] | {"lr_decay": decay}}
    (tmp_path / "direct").mkdir()
    direct = fit_one(tmp_path / "direct", keys | {"budget": long})
    first = fit_one(tmp_path, keys | {"budget": short})
    told = Told()
    longer = fit_one(tmp_path, keys | {"budget": long}, told)
    assert longer.folder == first.folder
    assert ("started", "small/adam/seed-0", first.summary["steps"]) in told.words
    assert_same_bits(direct.folder, longer.folder)
    assert longer.summary["target"]["step"] == direct.summary["target"]["step"]


def test_a_larger_budget_that_is_stopped_before_its_first_checkpoint_still_goes_on(tmp_path: Path) -> None:
    (tmp_path / "direct").mkdir()
    direct = fit_one(tmp_path / "direct", STATE | {"budget": {"epochs": 4}})
    fit_one(tmp_path, STATE | {"budget": {"epochs": 2}})

    class Killed(BaseException):
        pass

    class KillAtTheStart(Told):
        def started(self, label: str, from_step: int) -> None:
            raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, STATE | {"budget": {"epochs": 4}}, KillAtTheStart())
    longer = fit_one(tmp_path, STATE | {"budget": {"epochs": 4}})
    assert_same_bits(direct.folder, longer.folder)


def test_a_run_that_was_stopped_can_be_given_a_larger_budget(tmp_path: Path) -> None:
    (tmp_path / "direct").mkdir()
    direct = fit_one(tmp_path / "direct", STATE | {"budget": {"epochs": 4}})
    with pytest.raises(Interrupted):
        fit(tmp_path, STATE | {"budget": {"epochs": 3}}, StopAfter(1))
    assert_same_bits(direct.folder, fit_one(tmp_path, STATE | {"budget": {"epochs": 4}}).folder)


@pytest.mark.parametrize(
    "strategy",
    [
        {"lr_decay": {"kind": "cosine"}},
        {"lr_decay": {"kind": "constant", "warmup": 0.1}},
        {"batch_size": {"start": 32, "factor": 2, "at": [0.5]}},
        {"average": {"kind": "swa"}},
    ],
    ids=["cosine", "warmup", "growing", "swa"],
)
def test_where_the_budget_shapes_the_run_a_larger_one_is_another_run(tmp_path: Path, strategy: dict[str, Any]) -> None:
    first = fit_one(tmp_path, {"strategy": strategy})
    before = contents(first.folder)
    told = Told()
    longer = fit_one(tmp_path, {"strategy": strategy, "budget": {"epochs": 3}}, told)
    assert ("started", "small/sgd/seed-0", 0) in told.words
    assert longer.folder != first.folder
    assert contents(first.folder) == before


def test_an_end_between_two_evaluations_is_no_beginning_of_a_longer_run(tmp_path: Path) -> None:
    """The short run was judged at step 30, where the longer one is not: its rows and its bits would differ."""
    every = {"evaluation": {"every": {"steps": 20}}}
    short = fit_one(tmp_path, every | {"budget": {"steps": 30}})
    longer = fit_one(tmp_path, every | {"budget": {"steps": 60}})
    assert [row["step"] for row in rows_of(short.folder / "metrics.csv")] == ["20", "30"]
    assert [row["step"] for row in rows_of(longer.folder / "metrics.csv")] == ["20", "40", "60"]


def test_a_smaller_budget_is_another_run(tmp_path: Path) -> None:
    long = fit_one(tmp_path, {"budget": {"epochs": 3}})
    before = contents(long.folder)
    short = fit_one(tmp_path, {"budget": {"epochs": 1}})
    assert short.folder != long.folder
    assert contents(long.folder) == before
    assert weights_of(short.folder, checkpoint.LAST).keys() == weights_of(long.folder).keys()


def test_a_budget_in_another_unit_is_another_run(tmp_path: Path) -> None:
    epochs = fit_one(tmp_path, {"budget": {"epochs": 1}})
    steps = fit_one(tmp_path, {"budget": {"steps": 40}})
    assert epochs.folder != steps.folder
