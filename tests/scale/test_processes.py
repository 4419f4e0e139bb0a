"""Runs side by side: the same bits as one after the other, and no run pays for another's end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import PATIENCE
from running import Told, assert_same_bits, fit, plan_of, summary_of, wait_for, write_digits

from nnopt.errors import NnoptError
from nnopt.scale.processes import train_side_by_side
from nnopt.scale.worker import Sender
from nnopt.store.find import read_run
from nnopt.store.lock import HOLDER, RunLock
from nnopt.store.record import RunRecord
from nnopt.train.experiment import Options
from nnopt.train.listener import Moment
from nnopt.train.signals import StopRequest

SPEC: dict[str, Any] = {
    "seeds": 2,
    "model": {"dropout": 0.2},
    "variants": {"adam": {"optimizer": {"kind": "adam", "lr": 0.01}}, "sgd": {}},
}
ENDLESS: dict[str, Any] = {"seeds": 2, "budget": {"steps": 10**7}, "evaluation": {"every": {"steps": 10**7}}}


def fit_two(folder: Path, changes: dict[str, Any], listener: Any = None, **options: bool) -> list[RunRecord]:
    """Trains with two workers."""
    plan = plan_of(folder, changes)
    return train_side_by_side(plan, Options(folder / "runs", **options), listener or Told(), 2)


# ------------------------------------------------------------------------------------------ to the end


def test_two_at_a_time_give_the_bits_of_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    one = fit(tmp_path, SPEC)
    told = Told()
    two = fit_two(tmp_path / "two", SPEC, told)
    assert [record.name for record in one] == [record.name for record in two]
    for left, right in zip(one, two, strict=True):
        assert_same_bits(left.folder, right.folder)
    assert sorted(words[1] for words in told.words if words[0] == "started") == sorted(record.name for record in one)

    again = Told()
    fit_two(tmp_path / "two", SPEC, again)
    assert [words[0] for words in again.words] == ["skipped"] * 4


def test_a_diverged_run_and_a_failed_one_do_not_end_the_others(tmp_path: Path) -> None:
    changes = {
        "loss": {"kind": "mse"},
        "model": {"kind": "linear"},
        "budget": {"epochs": 5},
        "variants": {"wild": {"optimizer": {"lr": 1e4}}, "tame": {"optimizer": {"lr": 0.01}}},
    }
    assert [record.status for record in fit_two(tmp_path, changes)] == ["diverged", "done"]
    (tmp_path / "fast").mkdir()
    records = fit_two(tmp_path / "fast", changes | {"seeds": 20}, fail_fast=True)
    assert "diverged" in {record.status for record in records}
    assert len(records) < 40, "the runs that had not begun are left"


def test_a_folder_that_another_program_holds_ends_the_plan(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "small" / "adam" / "seed-0"
    folder.mkdir(parents=True)
    with RunLock(folder), pytest.raises(NnoptError, match=f"is being written by process {os.getpid()}") as caught:
        fit_two(tmp_path, SPEC)
    assert caught.value.exit_code == 2
    assert [record.status for record in fit_two(tmp_path, SPEC)] == ["done"] * 4


# --------------------------------------------------------------------------------------- a worker dies


@dataclass
class KillItsWorker(Told):
    """Kills the process that trains `label` when its third row is heard of: a checkpoint is there by then."""

    label: str = ""
    folder: Path = Path()
    rows: int = 0
    killed: list[int] = field(default_factory=list)

    def row(self, label: str, row: dict[str, Any]) -> None:
        self.rows += label == self.label
        if self.rows == 3 and not self.killed:
            self.killed.append(json.loads((self.folder / HOLDER).read_text())["pid"])
            os.kill(self.killed[0], signal.SIGKILL)


def test_a_killed_worker_costs_its_run_alone(tmp_path: Path) -> None:
    changes = SPEC | {"budget": {"epochs": 60}}
    folder = tmp_path / "runs" / "small" / "adam" / "seed-0"
    listener = KillItsWorker(label="small/adam/seed-0", folder=folder)
    records = fit_two(tmp_path, changes, listener)
    assert len(listener.killed) == 1
    assert {record.name: record.status for record in records} == {
        "small/adam/seed-0": "failed",
        "small/sgd/seed-0": "done",
        "small/adam/seed-1": "done",
        "small/sgd/seed-1": "done",
    }
    (reason,) = [words[3] for words in listener.words if words[:3] == ("ended", "small/adam/seed-0", "failed")]
    assert reason.startswith("its process died (exit code -9)")
    assert read_run(folder).status == "interrupted"

    told = Told()
    records = fit_two(tmp_path, changes, told)
    assert [words[0] for words in told.words].count("skipped") == 3
    ((_, _, step),) = [words for words in told.words if words[0] == "started"]
    assert step > 0
    (tmp_path / "one").mkdir()
    whole = fit(tmp_path / "one", changes | {"variants": {"adam": SPEC["variants"]["adam"]}, "seeds": 1})[0]
    assert_same_bits(whole.folder, folder)


def test_a_worker_whose_parent_is_gone_asks_its_run_to_stop_at_a_checkpoint() -> None:
    ours, theirs = Pipe()
    stop = StopRequest()
    sender = Sender(theirs, stop)
    sender.moment("a/b/seed-0", Moment(1, 0.1, 2.0, 0.1, 100.0))
    assert ours.recv() == ("moment", "a/b/seed-0", Moment(1, 0.1, 2.0, 0.1, 100.0))
    assert stop.code is None
    ours.close()
    sender.row("a/b/seed-0", {"step": 1})
    assert stop.code == 143
    theirs.close()


# -------------------------------------------------------------------------------------------- signals


@contextmanager
def program(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`nnopt train --jobs 2` of endless runs as a process group of its own, as a shell starts it."""
    write_digits(folder, ENDLESS)
    command = [sys.executable, "-m", "nnopt", "train", "spec.yaml", "--jobs", "2", "--runs-dir", "runs", "--quiet"]
    process = subprocess.Popen(command, cwd=folder, text=True, stderr=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def folders(top: Path) -> list[Path]:
    return [top / "runs" / "small" / "sgd" / f"seed-{seed}" for seed in (0, 1)]


def both_train(top: Path) -> bool:
    steps = [folder / "steps.csv" for folder in folders(top)]
    return all(path.exists() and path.read_text().count("\n") > 20 for path in steps)


@pytest.mark.parametrize(
    ("number", "to_group", "code"),
    [(signal.SIGINT, True, 130), pytest.param(signal.SIGTERM, False, 143, marks=pytest.mark.slow)],
)
def test_a_signal_checkpoints_every_run(tmp_path: Path, number: int, to_group: bool, code: int) -> None:
    """Ctrl-C reaches the whole group of processes, SIGTERM the one that it is sent to."""
    with program(tmp_path) as process:
        wait_for(lambda: both_train(tmp_path))
        (os.killpg if to_group else os.kill)(process.pid, number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert errors.splitlines() == ["error: interrupted: run the same command again to go on from the checkpoint"]
    for folder in folders(tmp_path):
        summary = summary_of(folder)
        assert summary["status"] == "interrupted"
        assert summary["steps"] > 20
        assert (folder / "checkpoints" / "last.pt").exists()


def test_ctrl_c_while_workers_start_is_quiet(tmp_path: Path) -> None:
    with program(tmp_path) as process:
        parent = psutil.Process(process.pid)
        wait_for(lambda: any(child.children() for child in parent.children()))  # a copy of what workers are copied from
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors.splitlines() == ["error: interrupted: run the same command again to go on from the checkpoint"]


def test_ctrl_c_while_everything_is_imported_is_quiet(tmp_path: Path) -> None:
    with program(tmp_path) as process:
        parent = psutil.Process(process.pid)
        wait_for(lambda: len(parent.children()) >= 2)  # what workers are copied from, and multiprocessing's tracker
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    (line,) = errors.splitlines()
    assert line.startswith("error: interrupted")


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_workers_of_a_killed_program_checkpoint_and_end(tmp_path: Path) -> None:
    with program(tmp_path) as process:
        wait_for(lambda: both_train(tmp_path))
        workers = [json.loads((folder / HOLDER).read_text())["pid"] for folder in folders(tmp_path)]
        process.kill()
        process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in workers))
    for folder in folders(tmp_path):
        assert summary_of(folder)["status"] == "interrupted"
        assert (folder / "checkpoints" / "last.pt").exists()
