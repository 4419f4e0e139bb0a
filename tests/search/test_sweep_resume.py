"""A search that is killed, again and again, ends with the trials and the bits of one that was left alone."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

import pandas
import pytest
from running import Process, Starter, assert_same_bits, summary_of
from sweeps import studies, trial_folders, write_search

import nnopt
from nnopt.store.lock import HOLDER

# Long enough to be met in the middle: a trial takes some hundredths of a second.
LONG: dict[str, Any] = {"budget": {"epochs": 8}, "search": {"confirm": None, "trials": 5}}
SAMPLERS: dict[str, dict[str, Any]] = {
    "quasi_random": {"search": {"sampler": {"kind": "quasi_random"}, "confirm": {"seeds": 1}}},
    "grid": {"search": {"sampler": {"kind": "grid"}, "space": {"optimizer.lr": {"log": [1e-2, 3], "points": 5}}}},
    "tpe and pruning": {
        "search": {
            "sampler": {"kind": "tpe", "startup_trials": 2},
            "prune": {"kind": "median", "startup_trials": 2},
            "at_once": 2,
        }
    },
    "two objectives within a limit": {
        "search": {
            "sampler": {"kind": "tpe", "startup_trials": 2},
            "space": {"optimizer.lr": {"log": [1e-2, 3]}, "model.hidden.0": {"int": [2, 64], "log": True}},
            "objective": {"against": "parameters"},
            "limits": {"parameters": 3000},
            "confirm": {"seeds": 1, "at_most": 2},
            "at_once": 2,
        }
    },
}


def merged(*changes: dict[str, Any]) -> dict[str, Any]:
    from nnopt.spec.merge import merge

    found: dict[str, Any] = {}
    for change in changes:
        found = merge(found, change)
    return found


def end_by_kills(starter: Starter, folder: Path, spec: Path, kills: int, rng: random.Random, *args: str) -> int:
    """Runs the sweep until it ends, with so many kills on the way; how many of them met it at work."""
    met = 0
    for _ in range(kills):
        began, holder = time.time(), folder / "runs/small" / HOLDER
        process: Process = starter.start(folder, "sweep", spec, "--quiet", *args)
        # Before it holds the experiment nothing is written, and it may not hear of signals yet but die of them.
        while process.poll() is None and not (holder.exists() and holder.stat().st_mtime > began):
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.6))
        if process.poll() is None:
            process.send(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            code = process.wait()
            met += 1
            assert code in (-signal.SIGKILL, 130, 143, 0), process.stderr
        else:
            assert process.code == 0, process.stderr
    starter.run(folder, "sweep", spec, "--quiet", *args)
    return met


RARELY = {"grid", "quasi_random", "two objectives within a limit"}  # the ways of a kill are those of the other two


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in RARELY)) for name in SAMPLERS])
def test_a_killed_sweep_ends_as_an_unbroken_one(starter: Starter, tmp_path: Path, name: str) -> None:
    changes = merged(LONG, SAMPLERS[name])
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    nnopt.sweep(write_search(tmp_path / "whole", changes), runs_dir=tmp_path / "whole/runs")
    spec = write_search(tmp_path / "broken", changes)
    met = end_by_kills(starter, tmp_path / "broken", spec, 2, random.Random(name))
    assert met >= 1
    whole, broken = studies(tmp_path / "whole/runs"), studies(tmp_path / "broken/runs")
    assert broken == whole
    assert all(len(trials) == 5 for trials in whole.values())
    for folder in sorted((tmp_path / "whole/runs/small").glob("*/**/summary.json")):
        other = tmp_path / "broken" / folder.parent.relative_to(tmp_path / "whole")
        if (folder.parent / "checkpoints/best.pt").exists():
            assert_same_bits(folder.parent, other)
        else:
            ours, theirs = summary_of(folder.parent), summary_of(other)
            assert {key: ours[key] for key in ("status", "metrics", "steps", "setting")} == {
                key: theirs[key] for key in ("status", "metrics", "steps", "setting")
            }


def test_workers_find_the_same_trials_as_one_process(tmp_path: Path) -> None:
    changes = merged(LONG, SAMPLERS["tpe and pruning"], {"budget": {"epochs": 3}})
    for jobs in (1, 2):
        (tmp_path / f"{jobs}").mkdir()
        nnopt.sweep(write_search(tmp_path / f"{jobs}", changes), runs_dir=tmp_path / f"{jobs}/runs", jobs=jobs)
    assert studies(tmp_path / "1/runs") == studies(tmp_path / "2/runs")


@pytest.mark.slow
def test_the_killed_workers_of_a_killed_sweep_leave_nothing_running(starter: Starter, tmp_path: Path) -> None:
    changes = merged(LONG, {"budget": {"epochs": 20}})
    spec = write_search(tmp_path, changes)
    process = starter.start(tmp_path, "sweep", spec, "--quiet", "--jobs", "2")
    while not trial_folders(tmp_path / "runs") and process.poll() is None:
        time.sleep(0.01)
    process.send(signal.SIGKILL)
    process.wait()
    starter.run(tmp_path, "sweep", spec, "--quiet", "--jobs", "2")
    for trials in studies(tmp_path / "runs").values():
        assert [trial[0] for trial in trials] == list(range(5))
        assert {trial[1] for trial in trials} <= {"COMPLETE", "FAIL"}
    assert {summary_of(folder)["status"] for folder in trial_folders(tmp_path / "runs")} <= {"done", "diverged"}


CRASH = '''
import os, signal
from pathlib import Path

from nnopt.spec.optimizers.textbook import Sgd


class Crash(Sgd):
    """Kills its process above a rate, as the system does where memory runs out; told to be well never, ill always."""

    kind: str

    def build(self, parameters):
        crashes = Path("ill").exists() or (self.lr > 0.5 and not Path("well").exists())
        is_worker = os.getppid() != 1 and "forkserver" in open(f"/proc/{os.getpid()}/cmdline").read()
        if crashes and is_worker:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().build(parameters)
'''


@pytest.mark.slow
def test_a_crashed_worker_costs_its_trial_and_not_the_sweep(starter: Starter, tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text(CRASH)
    spec = write_search(
        tmp_path,
        {
            "budget": {"epochs": 1},
            "variants": {"sgd": {"optimizer": {"kind": "crashing:Crash"}}},
            "search": {"confirm": None},
        },
    )
    done = starter.run(tmp_path, "sweep", spec, "--jobs", "2", "--quiet", code=1)
    trials = studies(tmp_path / "runs")
    assert {name: len(found) for name, found in trials.items()} == {"sgd": 6, "momentum": 6}
    failed = [trial for trial in trials["sgd"] if trial[1] == "FAIL"]
    assert failed
    assert all(trial[2]["optimizer.lr"] > 0.5 for trial in failed)
    assert sum(trial[1] == "COMPLETE" for trial in trials["sgd"]) == 6 - len(failed)
    assert "its process died (exit code -9)" in done.stderr
    (tmp_path / "well").touch()
    starter.run(tmp_path, "sweep", spec, "--quiet")
    again = studies(tmp_path / "runs")["sgd"]
    assert again[:6] == trials["sgd"]
    assert [trial[2] for trial in again[6:]] == [trial[2] for trial in failed]
    assert {trial[1] for trial in again[6:]} == {"COMPLETE"}
    # A winner is no more lost in silence than a trial.
    (tmp_path / "ill").touch()
    starter.run(tmp_path, "sweep", spec, "search.confirm={seeds: 1}", "--jobs", "2", "--quiet", code=1)
    confirmed = {name: summary_of(tmp_path / f"runs/small/{name}/seed-1")["status"] for name in trials}
    assert confirmed == {"sgd": "running", "momentum": "done"}


def test_a_trial_that_ends_its_process_each_time_does_not_stop_the_sweep_for_ever(
    starter: Starter, tmp_path: Path
) -> None:
    (tmp_path / "crashing.py").write_text(CRASH.replace("is_worker:", "Path('runs/small/sgd/trial-1').exists():"))
    space = {"optimizer.lr": {"choice": [0.1, 0.9, 0.3]}}
    search = {"sampler": {"kind": "grid"}, "space": space, "trials": None, "confirm": None}
    variants = {"sgd": {"optimizer": {"kind": "crashing:Crash", "lr": 0.1}}, "momentum": {"optimizer": {"lr": 0.1}}}
    spec = write_search(tmp_path, {"budget": {"epochs": 1}, "search": search, "variants": variants})
    for _ in range(3):
        process = starter.start(tmp_path, "sweep", spec, "--quiet")
        assert process.wait() == -signal.SIGKILL
    process = starter.run(tmp_path, "sweep", spec, "--quiet", code=1)
    assert "sgd/trial-1: its process ended again and again without getting further" in process.stderr
    found = studies(tmp_path / "runs")
    assert [trial[1] for trial in found["sgd"]] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert [trial[1] for trial in found["momentum"]] == ["COMPLETE"] * 3
    table = pandas.read_csv(tmp_path / "runs/small/trials.csv")
    assert list(table[table["variant"] == "sgd"]["status"]) == ["done", "failed", "done"]


def test_a_full_disk_ends_the_sweep_in_a_line_and_loses_nothing(starter: Starter, tmp_path: Path) -> None:
    spec = write_search(tmp_path, {"search": {"trials": 2, "confirm": None}})
    process = starter.start(tmp_path, "sweep", spec, "--quiet", file_limit=40_000)  # less than SQLite's tables take
    assert process.wait() == 1, process.stderr
    assert process.stderr.count("\n") == 1
    assert "cannot write" in process.stderr
    starter.run(tmp_path, "sweep", spec, "--quiet")
    assert all(len(trials) == 2 for trials in studies(tmp_path / "runs").values())
