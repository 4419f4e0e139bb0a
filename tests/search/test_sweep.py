"""`nnopt sweep` from the spec to the report: trials, winners on fresh seeds, what is written, what is refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml
from command_line import Ended
from running import summary_of
from sweeps import studies, trial_folders, write_search

import nnopt
from nnopt.search.ledger import Ledger, open_storage
from nnopt.spec.loading import load
from nnopt.spec.merge import merge
from nnopt.spec.search.domains import LogRange
from nnopt.store.lock import RunLock

pytestmark = pytest.mark.usefixtures("undrawn")

Cli = Callable[..., Ended]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder above the runs of one whole sweep, carried out from Python."""
    folder = tmp_path_factory.mktemp("swept")
    nnopt.sweep(write_search(folder), runs_dir=folder / "runs")
    return folder


def test_every_variant_has_its_trials_and_its_winner_on_fresh_seeds(swept: Path) -> None:
    found = studies(swept / "runs")
    assert {name: [trial[0] for trial in trials] for name, trials in found.items()} == {
        "sgd": list(range(6)),
        "momentum": list(range(6)),
    }
    # Trial n lies at the same place of the space for every variant.
    assert [trial[2] for trial in found["sgd"]] == [trial[2] for trial in found["momentum"]]
    for name in ("sgd", "momentum"):
        done = [trial for trial in found[name] if trial[1] == "COMPLETE"]
        best = max(done, key=lambda trial: trial[3])
        seeds = sorted((swept / "runs/small" / name).glob("seed-*"))
        assert [folder.name for folder in seeds] == ["seed-1", "seed-2"]
        for folder in seeds:
            summary = summary_of(folder)
            assert summary["spec"]["optimizer"]["lr"] == best[2]["optimizer.lr"]
            assert summary["spec"]["tuned"] == {"trials": 6, "ranges": {"optimizer.lr": [0.01, 3.0]}}
            assert summary["test"]["last"]["accuracy"] is not None


def test_a_trial_never_reads_test_data_and_says_what_it_sets(swept: Path) -> None:
    folders = trial_folders(swept / "runs")
    assert len(folders) == 12
    for folder in folders:
        summary = summary_of(folder)
        assert summary["test"] is None
        assert summary["setting"] == {"optimizer.lr": summary["spec"]["optimizer"]["lr"]}
        assert f"trial-{summary['trial']}" == folder.parent.name
        assert "search" not in summary["spec"]
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.pt"]


def test_a_trial_can_be_trained_again_by_its_own_file(swept: Path, tmp_path: Path, cli: Cli) -> None:
    folder = trial_folders(swept / "runs")[0]
    cli("train", folder / "spec.yaml", "--runs-dir", tmp_path / "again", "--quiet")
    (again,) = (tmp_path / "again").glob("small/*/seed-0")
    assert summary_of(again)["metrics"] == summary_of(folder)["metrics"]


def test_what_is_in_the_study_is_in_the_table(swept: Path) -> None:
    table = pandas.read_csv(swept / "runs/small/trials.csv")
    for name, trials in studies(swept / "runs").items():
        rows = table[table["variant"] == name]
        assert list(rows["trial"]) == [trial[0] for trial in trials]
        assert list(rows["optimizer.lr"]) == [trial[2]["optimizer.lr"] for trial in trials]
        assert [value if value == value else None for value in rows["val_accuracy"]] == [t[3] for t in trials]


def test_the_winners_are_compared_on_test_data(swept: Path, cli: Cli) -> None:
    done = cli("sweep", swept / "search.yaml", "--runs-dir", swept / "runs", "--quiet", "--json")
    found = json.loads(done.stdout)
    assert found["comparison"]["metric"] == "test_accuracy"
    assert {row["variant"]: row["done"] for row in found["comparison"]["rows"]} == {"sgd": 2, "momentum": 2}


def test_the_same_command_again_trains_nothing(swept: Path, cli: Cli) -> None:
    before = {path: path.stat().st_mtime_ns for path in (swept / "runs/small").glob("*/*/**/metrics.csv")}
    done = cli("sweep", swept / "search.yaml", "--runs-dir", swept / "runs")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "test_accuracy" in done.stdout


def test_an_experiment_is_compared_without_its_trials(swept: Path, cli: Cli) -> None:
    done = cli("compare", "small", "--runs-dir", swept / "runs", "--json")
    assert {row["label"]: row["done"] for row in json.loads(done.stdout)["rows"]} == {"sgd": 2, "momentum": 2}


def test_several_seeds_a_trial_are_averaged(tmp_path: Path) -> None:
    spec = write_search(
        tmp_path,
        {
            "search": {"seeds_per_trial": [5, 9], "trials": 2, "confirm": None},
            "variants": {"momentum": {"optimizer": {"kind": "sgd"}}},
        },
    )
    swept = nnopt.sweep(spec, "budget.epochs=1", runs_dir=tmp_path / "runs")
    assert swept.comparison is None
    (first, *_) = studies(tmp_path / "runs")["sgd"]
    values = [
        summary_of(tmp_path / f"runs/small/sgd/trial-0/seed-{seed}")["metrics"]["val_accuracy"]["last"]
        for seed in (5, 9)
    ]
    assert first[3] == sum(values) / 2
    assert not list((tmp_path / "runs/small/sgd").glob("seed-*"))


def test_another_objective_and_its_direction(tmp_path: Path) -> None:
    searched = {"trials": 2, "confirm": None, "objective": {"metric": "val_f1_macro"}}
    spec = write_search(tmp_path, {"search": searched, "evaluation": {"metrics": ["f1_macro"]}})
    swept = nnopt.sweep(spec, "budget.epochs=1", runs_dir=tmp_path / "runs")
    folder = trial_folders(tmp_path / "runs")[0]
    assert "val_f1_macro" in summary_of(folder)["metrics"]
    assert swept.summary.higher_is_better
    smallest = {"search": {"trials": 2, "confirm": None, "objective": {"metric": "best_val_loss"}}, "name": "losses"}
    swept = nnopt.sweep(write_search(tmp_path, smallest), "budget.epochs=1", runs_dir=tmp_path / "runs")
    for variant in swept.summary.variants:
        assert variant.best is not None
        assert variant.best.value == min(trial.value for trial in variant.trials if trial.value is not None)


def test_more_trials_and_another_variant_go_on_from_what_is_there(tmp_path: Path) -> None:
    one_epoch = {"budget": {"epochs": 1}}
    nnopt.sweep(write_search(tmp_path, {**one_epoch, "search": {"trials": 2}}), runs_dir=tmp_path / "runs")
    before = studies(tmp_path / "runs")
    old = {folder: summary_of(folder) for folder in trial_folders(tmp_path / "runs")}
    more = {**one_epoch, "search": {"trials": 3}, "variants": {"adam": {"optimizer": {"kind": "adam"}}}}
    nnopt.sweep(write_search(tmp_path, more), runs_dir=tmp_path / "runs")
    after = studies(tmp_path / "runs")
    assert {name: len(trials) for name, trials in after.items()} == {"sgd": 3, "momentum": 3, "adam": 3}
    assert all(after[name][:2] == before[name] for name in before)
    assert {folder: summary_of(folder) for folder in old} == old


def test_a_trial_whose_folder_was_deleted_trains_once_more(tmp_path: Path) -> None:
    spec = write_search(tmp_path, {"budget": {"epochs": 1}, "search": {"trials": 2, "confirm": None}})
    first = nnopt.sweep(spec, runs_dir=tmp_path / "runs")
    before = studies(tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs/small/sgd/trial-1")
    again = nnopt.sweep(spec, runs_dir=tmp_path / "runs")
    assert studies(tmp_path / "runs") == before
    values = [[trial.value for one in swept.summary.variants for trial in one.trials] for swept in (first, again)]
    assert values[0] == values[1]
    assert len(values[0]) == 4


def test_a_variant_that_comes_later_is_checked_before_its_first_trial(tmp_path: Path, cli: Cli) -> None:
    small = {"budget": {"epochs": 1}, "search": {"trials": 1, "confirm": None}}
    cli("sweep", write_search(tmp_path, small), "--quiet")
    space = {"optimizer.lr": {"log": [1e-2, 3]}, "strategy.batch_size": {"int": [16, 4000]}}
    late = {"variants": {"late": {"search": {"space": space}}}}
    done = cli("sweep", write_search(tmp_path, merge(small, late)), "--quiet", code=2)
    assert "variant late" in done.stderr
    assert "late" not in studies(tmp_path / "runs")


def test_a_trial_that_is_done_without_a_value_is_none_that_optuna_ranks(tmp_path: Path) -> None:
    space = {"optimizer.lr": LogRange(log=(1e-3, 1.0))}
    with open_storage(tmp_path) as storage:
        ledger = Ledger(storage, "small/sgd", False, {})
        for value in (None, 0.5):
            trial = ledger.add({"optimizer.lr": 0.1}, space)
            ledger.tell(replace(trial, status="done", value=value))
        assert Ledger(storage, "small/sgd", False, {}).trials == ledger.trials
        assert [trial.state.name for trial in ledger.study.trials] == ["FAIL", "COMPLETE"]
        assert ledger.study.best_trial.number == 1


# ------------------------------------------------------------------------------------------------- refused


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"search": {"sampler": {"kind": "random"}}}, "search.sampler.kind: quasi_random, now random"),
    ({"search": {"space": {"optimizer.lr": {"log": [0.01, 5]}}}}, "search.space.optimizer.lr.log: [0.01, 3.0], now"),
    ({"search": {"trials": 5}}, "search.trials: 6, now 5"),
    ({"model": {"hidden": [8]}}, "model.hidden: [16], now [8]"),
    ({"strategy": {"clip_norm": 2}}, "strategy.clip_norm: its default, now 2"),
    ({"search": {"objective": {"metric": "val_loss"}}}, "search.metric: val_accuracy, now val_loss"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES)
def test_a_changed_spec_is_refused_and_names_the_keys(
    swept: Path, tmp_path: Path, cli: Cli, change: dict[str, Any], told: str
) -> None:
    spec = write_search(tmp_path, change)
    before = sorted(path for path in (swept / "runs").rglob("*"))
    done = cli("sweep", spec, "--runs-dir", swept / "runs", code=2)
    assert told in done.stderr
    assert "--fresh" in done.stderr
    assert len(done.errors) == 1
    assert sorted(path for path in (swept / "runs").rglob("*")) == before


def test_fresh_sets_the_old_search_aside(tmp_path: Path, cli: Cli) -> None:
    short = {"search": {"trials": 2, "confirm": None}, "budget": {"epochs": 1}}
    cli("sweep", write_search(tmp_path, short), "--quiet")
    wrong = {**short, "strategy": {"batch_size": 5000}}
    assert "training samples" in cli("sweep", write_search(tmp_path, wrong), "--fresh", code=2).stderr
    assert not (tmp_path / "runs/.aside").exists()
    cli("sweep", write_search(tmp_path, {**short, "model": {"hidden": [8]}}), "--fresh", "--quiet")
    (aside,) = (tmp_path / "runs/.aside").iterdir()
    assert len(list(aside.glob("*/trial-*/seed-0/metrics.csv"))) == 4
    assert summary_of(trial_folders(tmp_path / "runs")[0])["spec"]["model"]["hidden"] == [8]


def test_what_only_data_and_model_can_refuse_is_refused_before_the_first_trial(tmp_path: Path, cli: Cli) -> None:
    space = {"optimizer.lr": {"log": [0.01, 3]}, "strategy.batch_size": {"int": [16, 4000]}}
    spec = write_search(tmp_path, {"search": {"space": space}})
    done = cli("sweep", spec, code=2)
    assert "with optimizer.lr=0.173205, strategy.batch_size=2008" in done.stderr  # the middle of both
    assert "1222 training samples" in done.stderr
    assert not (tmp_path / "runs/small").exists()


@pytest.mark.parametrize(
    "timing",
    [
        {"budget": {"epochs": 2}, "evaluation": {"every": {"steps": 40}}},
        {"budget": {"steps": 15}, "evaluation": {"every": {"epochs": 1}}},
        {"budget": {"epochs": 1}, "evaluation": {"every": {"epochs": 1}}},
    ],
)
def test_pruning_without_evaluations_on_the_way_is_refused(tmp_path: Path, cli: Cli, timing: dict[str, Any]) -> None:
    prune = {"kind": "successive_halving"}
    done = cli("sweep", write_search(tmp_path, {**timing, "search": {"prune": prune}}), code=2)
    assert "prune" in done.stderr
    assert "evaluation" in done.stderr
    assert not (tmp_path / "runs/small/search.json").exists()


def test_a_store_of_another_version_is_refused(tmp_path: Path, cli: Cli) -> None:
    spec = write_search(tmp_path, {"search": {"trials": 1, "confirm": None}, "budget": {"epochs": 1}})
    cli("sweep", spec, "--quiet")
    store = tmp_path / "runs/small/study.db"
    with sqlite3.connect(store) as database:
        database.execute("UPDATE version_info SET schema_version = 3, library_version = '0.1.0'")
        database.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    database.close()
    done = cli("sweep", spec, code=2)
    assert "study.db was written by another version of Optuna" in done.stderr
    assert "--fresh" in done.stderr
    store.write_bytes(b"this is no database, but some text that is long enough to be looked at as one" * 20)
    done = cli("sweep", spec, code=2)
    assert "study.db cannot be used (file is not a database)" in done.stderr
    record = tmp_path / "runs/small/search.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "schema": 99, "written_by": "9.0"}))
    done = cli("sweep", spec, code=2)
    assert "search.json has schema 99 (nnopt 9.0)" in done.stderr


def test_a_search_without_any_value_is_a_failure_that_says_so(tmp_path: Path, cli: Cli) -> None:
    space = {"optimizer.lr": {"log": [1e8, 1e9]}}
    spec = write_search(tmp_path, {"search": {"space": space, "trials": 2}, "loss": {"kind": "mse"}})
    done = cli("sweep", spec, "--quiet", code=1)
    assert "no trial of sgd came to a value" in " ".join(done.stdout.split())
    assert {trial[1] for trials in studies(tmp_path / "runs").values() for trial in trials} == {"FAIL"}
    assert set(pandas.read_csv(tmp_path / "runs/small/trials.csv")["status"]) == {"diverged"}


def test_one_sweep_at_a_time(tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "runs/small"
    folder.mkdir(parents=True)
    with RunLock(folder):
        done = cli("sweep", write_search(tmp_path), code=2)
    assert "is being written by process" in done.stderr


def test_a_file_without_a_search_says_what_to_write(tmp_path: Path, cli: Cli) -> None:
    path = write_search(tmp_path)
    keys = yaml.safe_load(path.read_text())
    del keys["search"]
    keys["optimizer"]["lr"] = 0.1
    keys["variants"]["momentum"]["optimizer"]["lr"] = 0.1
    path.write_text(yaml.safe_dump(keys))
    done = cli("sweep", path, code=2)
    assert "has no key `search`" in done.stderr


def test_a_dry_run_shows_the_trials_and_writes_nothing(tmp_path: Path, cli: Cli) -> None:
    spec = write_search(tmp_path)
    found = json.loads(cli("sweep", spec, "--dry-run", "--json").stdout)
    assert not (tmp_path / "runs").exists()
    first = found["variants"][0]
    assert (first["variant"], first["left"], first["done"]) == ("sgd", 6, 0)
    nnopt.sweep(load(spec, ["search.confirm=null"]), runs_dir=tmp_path / "runs")
    made = {str(trial[0]): trial[2] for trial in studies(tmp_path / "runs")["sgd"]}
    assert first["settings"] == made
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "runs").rglob("*"))
    text = cli("sweep", spec, "search.trials=7", "--dry-run").stdout
    assert "sgd: 1 trials left, 6 done" in text
    assert "2 trials (2 runs) and 4 runs to confirm the winners" in text
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "runs").rglob("*")) == before
