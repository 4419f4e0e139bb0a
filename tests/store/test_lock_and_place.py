"""Who may write a run's folder, which folder is a run's, and which run a name means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import plan_of

from nnopt.errors import HeldError, RunsFolderError
from nnopt.plan import RunSpec
from nnopt.store.find import find_run, find_runs, read_run, read_runs, run_folders
from nnopt.store.folder import runs_folder
from nnopt.store.lock import HOLDER, RunLock, holder_lives
from nnopt.store.place import place, set_aside

# ------------------------------------------------------------------------------------------------- lock


def test_a_lock_keeps_others_out_and_says_who_holds_it(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert holder_lives(tmp_path)
        code = f"import pathlib, nnopt.store.lock as l; l.RunLock(pathlib.Path({str(tmp_path)!r})).__enter__()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"HeldError: {tmp_path} is being written by process {os.getpid()} on" in done.stderr
    assert not (tmp_path / HOLDER).exists()
    assert not holder_lives(tmp_path)
    with RunLock(tmp_path):
        pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from nnopt.store.lock import RunLock;"
        f"lock = RunLock(Path({str(tmp_path)!r})); lock.__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (tmp_path / HOLDER).exists(), "nobody could take the note away"
    assert not holder_lives(tmp_path)
    with RunLock(tmp_path):
        assert holder_lives(tmp_path)


def test_a_holder_without_a_note_is_still_a_holder(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        (tmp_path / HOLDER).unlink()
        with pytest.raises(HeldError, match="is being written by another program"):
            RunLock(tmp_path).__enter__()


# ------------------------------------------------------------------------------------------------ place


def run_of(folder: Path, changes: dict[str, Any] | None = None) -> RunSpec:
    return plan_of(folder, changes).runs[0]


def leave(run: RunSpec, folder: Path, status: str = "done", **more: Any) -> Path:
    """A folder with nothing but the summary of `run`."""
    folder.mkdir(parents=True)
    summary = {
        "schema": 1,
        "experiment": run.experiment,
        "variant": run.variant,
        "seed": run.seed,
        "status": status,
        "spec": run.settings_as_keys(),
        "spec_hash": run.hash,
        "hash_without_budget": run.hash_without_budget,
        "steps": 40,
        "epochs": 2.0,
        **more,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_a_run_has_the_folder_of_its_names(tmp_path: Path) -> None:
    found = place(run_of(tmp_path, {"seeds": [12]}), tmp_path / "runs")
    assert found.folder == tmp_path / "runs" / "small" / "sgd" / "seed-12"
    assert (found.found, found.relation) == (None, "new")


def test_what_a_lock_left_behind_does_not_occupy_a_folder(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    usual = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    usual.mkdir(parents=True)
    for name in (".lock", ".holder.json", ".summary.json.12.tmp"):
        (usual / name).write_text("")
    assert place(run, tmp_path / "runs").folder == usual
    (usual / "notes.txt").write_text("")
    assert place(run, tmp_path / "runs").folder.name == f"seed-0-{run.hash[:8]}"


def test_a_damaged_summary_is_left_alone(tmp_path: Path) -> None:
    usual = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    leave(run_of(tmp_path), usual)
    (usual / "summary.json").write_text("{")
    assert place(run_of(tmp_path), tmp_path / "runs").folder != usual


def test_seed_1_is_not_mistaken_for_seed_10(tmp_path: Path) -> None:
    leave(run_of(tmp_path, {"seeds": [10]}), tmp_path / "runs" / "small" / "sgd" / "seed-10")
    assert place(run_of(tmp_path, {"seeds": [1]}), tmp_path / "runs").relation == "new"


def test_an_occupied_suffix_is_an_error_with_its_name(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    for name in ("seed-0", f"seed-0-{run.hash[:8]}"):
        (tmp_path / "runs" / "small" / "sgd" / name).mkdir(parents=True)
        (tmp_path / "runs" / "small" / "sgd" / name / "file").write_text("")
    with pytest.raises(RunsFolderError, match=f"seed-0-{run.hash[:8]} holds something that is no run of this spec"):
        place(run, tmp_path / "runs")


@pytest.mark.parametrize(
    ("status", "steps", "relation"), [("done", 40, "shorter"), ("done", 37, "new"), ("interrupted", 37, "shorter")]
)
def test_the_beginning_of_a_longer_run_is_known(tmp_path: Path, status: str, steps: int, relation: str) -> None:
    every = {"evaluation": {"every": {"steps": 10}}}
    old = run_of(tmp_path, every | {"budget": {"steps": 40}})
    leave(old, tmp_path / "runs" / "small" / "sgd" / "seed-0", status, steps=steps)
    assert place(run_of(tmp_path, every | {"budget": {"steps": 80}}), tmp_path / "runs").relation == relation


@pytest.mark.parametrize("budget", [{"epochs": 1}, {"steps": 4000}, {"seconds": 100.0}])
def test_smaller_and_other_budgets_do_not_go_on(tmp_path: Path, budget: dict[str, Any]) -> None:
    leave(run_of(tmp_path), tmp_path / "runs" / "small" / "sgd" / "seed-0")
    assert place(run_of(tmp_path, {"budget": budget}), tmp_path / "runs").relation == "new"


def test_setting_aside_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda _format: "20260102-030405")
    targets = []
    for _ in range(3):
        folder = leave(run_of(tmp_path), tmp_path / "runs" / "small" / "sgd" / "seed-0")
        targets.append(set_aside(folder, tmp_path / "runs"))
        assert not folder.exists()
    assert len(set(targets)) == 3
    assert all((target / "summary.json").exists() for target in targets)
    assert all(target.is_relative_to(tmp_path / "runs" / ".aside" / "small" / "sgd") for target in targets)


def test_the_runs_folder_is_the_given_one_else_the_environments_else_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNOPT_RUNS_DIR", str(tmp_path))
    assert runs_folder(Path("given")) == Path("given")
    assert runs_folder(None) == tmp_path
    monkeypatch.setenv("NNOPT_RUNS_DIR", "")
    assert runs_folder(None) == Path("runs")


# ------------------------------------------------------------------------------------------------- find


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two experiments, two variants each, seeds 0, 2 and 10."""
    for experiment in ("first", "second"):
        for variant in ("adam", "sgd"):
            for seed in (10, 0, 2):
                changes = {"name": experiment, "seeds": [seed], "variants": {variant: {}}}
                leave(run_of(tmp_path, changes), tmp_path / "runs" / experiment / variant / f"seed-{seed}")
    leave(run_of(tmp_path), tmp_path / "runs" / ".aside" / "first" / "adam" / "seed-0-2026")
    return tmp_path / "runs"


def short(folders: list[Path], runs: Path) -> list[str]:
    return [folder.relative_to(runs).as_posix() for folder in folders]


SEEDS = ["seed-0", "seed-2", "seed-10"]


def test_runs_are_listed_by_name_and_number(runs: Path) -> None:
    expected = [f"{e}/{v}/{s}" for e in ("first", "second") for v in ("adam", "sgd") for s in SEEDS]
    assert short(run_folders(runs), runs) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("first/adam", [f"first/adam/{seed}" for seed in SEEDS]),
        ("first/adam/seed-2", ["first/adam/seed-2"]),
        ("second", [f"second/{variant}/{seed}" for variant in ("adam", "sgd") for seed in SEEDS]),
        ("second/sgd/seed-10/", ["second/sgd/seed-10"]),
        ("sgd/seed-2", None),
        ("*/sgd/seed-2", ["first/sgd/seed-2", "second/sgd/seed-2"]),
        ("f*/[as]*/seed-1*", ["first/adam/seed-10", "first/sgd/seed-10"]),
        ("*/adam", [f"{experiment}/adam/{seed}" for experiment in ("first", "second") for seed in SEEDS]),
    ],
)
def test_a_name_is_a_folder_an_experiment_a_variant_a_glob_or_a_unique_tail(
    runs: Path, name: str, expected: list[str] | None
) -> None:
    if expected is None:
        with pytest.raises(RunsFolderError, match=r"could be first/sgd/seed-2, second/sgd/seed-2; write more"):
            find_runs([name], runs)
    else:
        assert short(find_runs([name], runs), runs) == expected


def test_a_folder_anywhere_is_a_name(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_runs([str(runs / "first" / "sgd" / "seed-2")], runs) == [runs / "first" / "sgd" / "seed-2"]
    assert len(find_runs([str(runs / "first")], runs.parent / "nowhere")) == 6


def test_names_that_overlap_give_each_run_once(runs: Path) -> None:
    assert len(find_runs(["first", "first/sgd", "*/sgd/seed-0"], runs)) == 7


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../runs", "a RUN lies below the runs folder"),
        ("first/../../x", "a RUN lies below the runs folder"),
        ("sdg", "no run below .* is called 'sdg'.*sgd"),
        ("x*", "nothing below .* matches"),
        ("", "no run below .* is called ''"),
    ],
)
def test_a_name_that_means_nothing_says_so(runs: Path, name: str, words: str) -> None:
    with pytest.raises(RunsFolderError, match=words):
        find_runs([name], runs)


def test_one_run_is_asked_for_and_several_are_meant(runs: Path) -> None:
    assert find_run("first/sgd/seed-0", runs) == runs / "first" / "sgd" / "seed-0"
    with pytest.raises(RunsFolderError, match=r"names 6 runs \(first/adam/seed-0, .* and 2 more\); name one of them"):
        find_run("first", runs)


def test_there_is_no_runs_folder_yet(tmp_path: Path) -> None:
    with pytest.raises(RunsFolderError, match=r"there is no runs folder .*: train something first, or give --runs-dir"):
        find_runs(["first"], tmp_path / "runs")


def test_a_damaged_run_is_named_and_the_others_are_read(runs: Path) -> None:
    damaged = runs / "first" / "sgd" / "seed-0"
    (damaged / "summary.json").write_text('{"schema": 1')
    records, problems = read_runs(run_folders(runs))
    assert len(records) == 11
    (problem,) = problems
    assert problem.startswith(f"{damaged / 'summary.json'} is damaged")


def test_a_stale_running_was_interrupted(tmp_path: Path) -> None:
    folder = leave(run_of(tmp_path), tmp_path / "runs" / "small" / "sgd" / "seed-0", "running")
    assert read_run(folder).status == "interrupted"
    with RunLock(folder):
        assert read_run(folder).status == "running"
