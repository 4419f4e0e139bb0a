"""Jobs that come one by one: several runs a job, ends that decide on what comes next, runs that are cut short."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import CACHE, StopAfter, Told, assert_equal, copies_below, plan_of, rows_of, state_of, summary_of

from nnopt.errors import CheckpointError, Interrupted
from nnopt.plan import RunSpec
from nnopt.scale.crew import Crew, carry_out
from nnopt.scale.supply import Fixed, Job
from nnopt.store.lock import HOLDER
from nnopt.train.again import evaluate_again
from nnopt.train.evaluation import Result
from nnopt.train.experiment import Options
from nnopt.train.judging import evaluate_part
from nnopt.train.listener import Listener
from nnopt.train.setup import Setup
from nnopt.train.signals import StopRequest, stop_requests
from nnopt.train.state import TrainState

TRIAL: dict[str, Any] = {"checkpoint": {"every": {"seconds": 10}, "best": False}}


def trials(folder: Path, count: int, changes: dict[str, Any] | None = None) -> list[tuple[RunSpec, ...]]:
    """The runs of so many trials, whose rate rises from one to the next."""
    found = []
    for number in range(count):
        lr = 0.05 * (number + 1)
        plan = plan_of(folder, {"optimizer": {"lr": lr}, **TRIAL, **(changes or {})})
        found.append(tuple(replace(run, trial=number, setting={"optimizer.lr": lr}) for run in plan.runs))
    return found


def train(supply: Any, folder: Path, jobs: int = 1, listener: Listener | None = None, **options: Any) -> None:
    """Carries out a supply with runs below `folder`, and hears signals."""
    with stop_requests() as stop:
        carry_out(supply, Options(folder / "runs", **options), listener or Told(), stop, jobs, CACHE)


def folder_of(top: Path, trial: int, seed: int = 0) -> Path:
    return top / "runs" / "small" / "sgd" / f"trial-{trial}" / f"seed-{seed}"


@dataclass(frozen=True)
class After:
    """Ends a run at an evaluation, counted from 1, unless its seed is spared. It crosses to another process."""

    evaluations: int
    spared: int | None = None

    def __call__(self, seed: int, curve: Mapping[str, list[float | None]]) -> str | None:
        if seed == self.spared or len(curve["val_accuracy"]) < self.evaluations:
            return None
        assert len(curve["val_accuracy"]) == self.evaluations, "it was to end before"
        return f"pruned at val_accuracy {curve['val_accuracy'][-1]}"


# -------------------------------------------------------------------------------------------- a job's runs


def test_a_job_ends_at_its_first_run_that_is_not_done(tmp_path: Path) -> None:
    (runs,) = trials(tmp_path, 1, {"seeds": 4, "budget": {"epochs": 3}})
    wild = trials(tmp_path, 2, {"seeds": 2, "loss": {"kind": "mse"}, "optimizer": {"lr": 1e38}})[1]
    told = Told()
    train(Given([Job(runs[:3], After(2, spared=0)), Job(wild), Job(runs[3:])]), tmp_path, listener=told)
    assert [words[1:3] for words in told.words if words[0] == "ended"] == [
        ("small/sgd/trial-0/seed-0", "done"),
        ("small/sgd/trial-0/seed-1", "pruned"),
        ("small/sgd/trial-1/seed-0", "diverged"),
        ("small/sgd/trial-0/seed-3", "done"),
    ]
    assert not folder_of(tmp_path, 0, seed=2).exists()


@dataclass
class Given:
    """Jobs as they stand in a list, and how they ended."""

    jobs: list[Job]
    ends: list[tuple[Job, str | None]] = field(default_factory=list)

    def take(self) -> Job | None:
        return self.jobs.pop(0) if self.jobs else None

    def ended(self, job: Job, died: str | None) -> None:
        self.ends.append((job, died))


def test_a_trial_never_reads_test_data_and_keeps_no_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(setup: Setup, state: TrainState, part: str) -> Result:
        read.append(part)
        return evaluate_part(setup, state, part)

    monkeypatch.setattr("nnopt.train.testing.evaluate_part", reading)
    monkeypatch.setattr("nnopt.train.judging.evaluate_part", reading)
    ((run,),) = trials(tmp_path, 1)
    train(Fixed([run]), tmp_path)
    assert read == ["validation"] * 2
    train(Fixed([replace(run, trial=None)]), tmp_path)
    assert read == ["validation"] * 4 + ["test"], "the same run outside a search is tested"
    trial, usual = folder_of(tmp_path, 0), tmp_path / "runs/small/sgd/seed-0"
    summary = summary_of(trial)
    assert (summary["status"], summary["test"]) == ("done", None)
    assert (summary["trial"], summary["setting"]) == (0, {"optimizer.lr": 0.05})
    assert sorted(path.name for path in (trial / "checkpoints").iterdir()) == ["last.pt"]
    assert summary_of(usual)["test"] is not None
    with pytest.raises(CheckpointError, match=r"kept no best weights \(checkpoint.best: false\): take --weights last"):
        evaluate_again(trial, "best", "validation")


def test_without_best_weights_the_test_of_the_best_is_left_out(tmp_path: Path) -> None:
    changes = {"optimizer": {"lr": 1.5}, "budget": {"epochs": 6}}
    ((run,),) = trials(tmp_path, 1, changes)
    train(Fixed([replace(run, trial=None)]), tmp_path)
    folder = tmp_path / "runs/small/sgd/seed-0"
    summary = summary_of(folder)
    assert summary["metrics"]["val_accuracy"]["best_step"] < summary["steps"]
    assert summary["test"]["best"] is None
    assert "best weights" not in (folder / "run.log").read_text()


# -------------------------------------------------------------------------------------------------- pruned


def test_a_pruned_run_is_over_and_has_its_rows(tmp_path: Path) -> None:
    ((run,),) = trials(tmp_path, 1, {"budget": {"epochs": 4}})
    train(Given([Job((run,), After(2))]), tmp_path)
    folder = folder_of(tmp_path, 0)
    rows, summary = rows_of(folder / "metrics.csv"), summary_of(folder)
    assert [row["step"] for row in rows] == ["20", "40"]
    assert summary["status"] == "pruned"
    assert summary["reason"] == f"pruned at val_accuracy {rows[-1]['val_accuracy']}"
    assert (summary["steps"], summary["test"], summary["diverged"]) == (40, None, None)
    assert summary["metrics"]["val_accuracy"]["last"] == float(rows[-1]["val_accuracy"])
    told = Told()
    train(Given([Job((run,))]), tmp_path, listener=told)
    assert told.words == [("skipped", run.label, "pruned")]


def test_a_run_that_has_used_its_budget_is_not_pruned(tmp_path: Path) -> None:
    ((run,),) = trials(tmp_path, 1)
    train(Given([Job((run,), After(2))]), tmp_path)
    assert summary_of(folder_of(tmp_path, 0))["status"] == "done"


@pytest.mark.parametrize("every", [None, {"seconds": 1000}, {"steps": 30}])
def test_a_resumed_run_is_pruned_where_it_would_have_been(tmp_path: Path, every: dict[str, float] | None) -> None:
    changes = {"budget": {"epochs": 6}, "checkpoint": {"every": every, "best": False}, "model": {"dropout": 0.2}}
    ((run,),) = trials(tmp_path, 1, changes)
    for name, stops in (("whole", ()), ("resumed", (1, 2))):
        (tmp_path / name).mkdir()
        for rows in stops:
            with pytest.raises(Interrupted):
                train(Given([Job((run,), After(4))]), tmp_path / name, listener=StopAfter(rows))
        train(Given([Job((run,), After(4))]), tmp_path / name)
    one, other = (folder_of(tmp_path / name, 0) for name in ("whole", "resumed"))
    assert "resumed at step" in (other / "run.log").read_text()
    assert summary_of(one)["status"] == "pruned"
    for name in ("metrics.csv", "steps.csv"):
        assert rows_of(one / name) == rows_of(other / name)
    ours, theirs = summary_of(one), summary_of(other)
    for key in ("status", "reason", "metrics", "steps"):
        assert ours[key] == theirs[key]


# ------------------------------------------------------------------------------------------------- threads


def test_threads_that_nobody_asked_for_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnopt.train.devices.cores", lambda: 3)
    monkeypatch.setattr("nnopt.train.devices.MULTIPLY_ADDS_FOR_THREADS", 1)
    short = {"budget": {"steps": 2}, "evaluation": {"every": {"steps": 1}}}
    alone, shared = trials(tmp_path, 2, short)
    asked = trials(tmp_path, 3, {**short, "strategy": {"threads": 2}})[2]
    train(Fixed(alone), tmp_path)
    train(Fixed([*shared, *asked]), tmp_path, most_threads=1)
    assert [summary_of(folder_of(tmp_path, number))["threads"] for number in range(3)] == [3, 1, 2]

    again = [replace(run, trial=7) for run in alone]
    with pytest.raises(Interrupted):
        train(Fixed(again), tmp_path, listener=StopAfter(1), most_threads=2)
    train(Fixed(again), tmp_path, most_threads=1)
    assert summary_of(folder_of(tmp_path, 7))["threads"] == 2, "as it began"


# ------------------------------------------------------------------------------------------------- workers


@dataclass
class Chain:
    """Three trials of which the next is known when the last has ended: its rate is taken from that one's result."""

    folder: Path
    made: list[float] = field(default_factory=list)
    busy: bool = False
    most_processes: int = 0

    def take(self) -> Job | None:
        if self.busy or len(self.made) == 3:
            return None
        number, self.busy = len(self.made), True
        last = summary_of(folder_of(self.folder, number - 1))["metrics"]["val_loss"]["last"] if number else 1.0
        lr = 0.1 * last
        self.made.append(lr)
        found = plan_of(self.folder, {**TRIAL, "optimizer": {"lr": lr}, "budget": {"epochs": 4}}).runs[0]
        run = replace(found, trial=number, setting={"optimizer.lr": lr})
        return Job((run,), After(2) if number == 1 else None)

    def ended(self, job: Job, died: str | None) -> None:
        assert died is None
        self.busy = False
        self.most_processes = max(self.most_processes, len(copies_below(psutil.Process())))


def test_what_comes_next_may_depend_on_how_the_last_ended(tmp_path: Path) -> None:
    """The same in this process and in workers, of which no more are started than there is work for."""
    chains = {jobs: Chain(tmp_path / str(jobs)) for jobs in (1, 3)}
    for jobs, chain in chains.items():
        chain.folder.mkdir()
        train(chain, chain.folder, jobs)
    assert len(set(chains[1].made)) == 3
    assert chains[1].made == chains[3].made
    assert {jobs: chain.most_processes for jobs, chain in chains.items()} == {1: 0, 3: 1}
    for number, status in enumerate(("done", "pruned", "done")):
        one, other = (folder_of(chain.folder, number) for chain in chains.values())
        assert summary_of(one)["status"] == summary_of(other)["status"] == status
        assert rows_of(one / "metrics.csv") == rows_of(other / "metrics.csv")
        if status == "done":
            assert_equal(state_of(one), state_of(other))


@dataclass
class KillAtSecondSeed(Told):
    """Kills the worker that trains the second run of a job."""

    folder: Path = Path()

    def row(self, label: str, row: dict[str, Any]) -> None:
        if label.endswith("trial-0/seed-1") and row["step"] == 40:
            os.kill(json.loads((self.folder / HOLDER).read_text())["pid"], signal.SIGKILL)


@dataclass
class ThenOneMore(Given):
    """Gives the last job only when one has died."""

    def take(self) -> Job | None:
        held_back = len(self.jobs) == 1 and not any(died for _, died in self.ends)
        return None if held_back else super().take()


def test_a_worker_that_dies_is_replaced_and_its_job_is_told_of(tmp_path: Path) -> None:
    doomed, last = trials(tmp_path, 2, {"seeds": 3})
    (endless,) = trials(tmp_path, 1, {"seeds": [1], "budget": {"epochs": 10**6}})[0]
    supply = ThenOneMore([Job((doomed[0], endless, doomed[2])), Job(last)])
    told = KillAtSecondSeed(folder=folder_of(tmp_path, 0, seed=1))
    train(supply, tmp_path, jobs=2, listener=told)
    assert [(job.runs[0].trial, died) for job, died in supply.ends] == [
        (0, "its process died (exit code -9)"),
        (1, None),
    ]
    (failed,) = [words for words in told.words if words[0] == "ended" and words[2] == "failed"]
    assert failed[1] == "small/sgd/trial-0/seed-1"
    assert not folder_of(tmp_path, 0, seed=2).exists()
    assert [summary_of(folder_of(tmp_path, 1, seed))["status"] for seed in range(3)] == ["done"] * 3


def test_workers_stay_for_the_next_supply_unless_one_died_meanwhile(tmp_path: Path) -> None:
    first, second, third = trials(tmp_path, 3)
    with stop_requests() as stop, Crew(Options(tmp_path / "runs"), Told(), stop, 2) as crew:
        pids = []
        for runs in (first, second):
            crew.carry_out(Fixed(runs))
            pids.append([worker.process.pid for worker in crew.workers])
        assert pids[0] == pids[1]
        crew.workers[0].process.kill()
        crew.workers[0].process.join()
        crew.carry_out(Fixed(third))
        assert [worker.process.pid for worker in crew.workers] != pids[0]
    assert not any(worker.process.is_alive() for worker in crew.workers)
    assert [summary_of(folder_of(tmp_path, number))["status"] for number in range(3)] == ["done"] * 3


def test_nothing_is_begun_after_a_signal(tmp_path: Path) -> None:
    stop = StopRequest()
    stop.code = 143
    (runs,) = trials(tmp_path, 1)
    for jobs in (1, 2):
        with pytest.raises(Interrupted):
            carry_out(Fixed(runs), Options(tmp_path / "runs"), Told(), stop, jobs)
    assert not (tmp_path / "runs").exists()
