"""`nnopt import` of an MLflow store."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended

from nnopt.quiet import quiet
from nnopt.store.record import RunRecord

Cli = Callable[..., Ended]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments as another program would write them: random names, parameters as text."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with quiet(("mlflow", "alembic"), {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}):
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{path}")

        def run(experiment: str, name: str, status: str, params: dict[str, str], curve: list[float]) -> None:
            made = client.create_run(experiment, run_name=name, start_time=1_000_000).info.run_id
            metrics = [
                Metric("val_acc", value, 1_000_000 + 2000 * step, 10 * step) for step, value in enumerate(curve, 1)
            ]
            metrics.append(Metric("system/cpu_utilization_percentage", 50.0, 1_000_000, 0))
            client.log_batch(made, metrics=metrics, params=[Param(*item) for item in params.items()])
            client.set_terminated(made, status)

        first, second = client.create_experiment("tuning run"), client.create_experiment("other")
        for seed, curve in enumerate(([0.1, 0.5], [0.2, 0.6])):
            params = {"optimizer.kind": "adam", "lr": "1e-3", "seed": str(seed), "nesterov": "True"}
            run(first, f"bold-shrew-{seed}77", "FINISHED", params, curve)
        run(first, "sgd", "KILLED", {"optimizer.kind": "sgd"}, [0.3, float("inf")])
        run(second, "lone", "FAILED", {}, [0.4])
    return path


def test_runs_become_variants_and_seeds(cli: Cli, runs: Path, store: Path) -> None:
    cli("import", store, "--experiment", "tuning run", "--variant", "{optimizer.kind}")
    record = RunRecord.read(runs / "tuning-run/adam/seed-1")
    assert record.curve() == {"step": [10, 20], "train_seconds": [2, 4], "val_accuracy": [0.2, 0.6]}
    assert record.summary["spec"] == {"optimizer": {"kind": "adam"}, "lr": 0.001, "nesterov": True}
    assert record.summary["imported"]["clock"] == "wall"
    sgd = RunRecord.read(runs / "tuning-run/sgd/seed-0")
    assert (sgd.status, sgd.curve()["val_accuracy"]) == ("interrupted", [0.3, None])
    assert "adam" in cli("compare", "tuning-run").stdout
    cli("show", "tuning-run/sgd/seed-0")


def test_without_a_name_every_experiment_is_taken(cli: Cli, runs: Path, store: Path) -> None:
    ended = cli("import", f"sqlite:///{store}")
    assert sorted(path.name for path in runs.iterdir()) == ["other", "tuning-run"]
    assert RunRecord.read(runs / "other/lone/seed-0").status == "failed"
    assert RunRecord.read(runs / "tuning-run/bold-shrew-077/seed-0").seed == 0
    assert cli("import", store).stdout.count("unchanged") == 0, "the address is part of where a run is from"
    assert "nnopt compare tuning-run other" in ended.stdout


def test_a_name_that_is_not_there_is_refused(cli: Cli, runs: Path, store: Path) -> None:
    (line,) = cli("import", store, "--experiment", "tunning", code=2).errors
    assert "has 2 experiments (tuning run, other): --experiment with one of them takes that" in line


def test_a_store_is_only_read(cli: Cli, store: Path, tmp_path: Path) -> None:
    shutil.copy(store, tmp_path / "copy.db")
    before = (tmp_path / "copy.db").read_bytes()
    cli("import", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == before


def test_another_database_is_left_alone(cli: Cli, runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE runs (a)")
    database.close()
    before = path.read_bytes()
    (line,) = cli("import", path, code=2).errors
    assert "mine.db is no database of MLflow: it has no table experiments" in line
    assert path.read_bytes() == before
    assert not runs.exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [("sqlite:///nowhere.db", "there is no file nowhere.db"), ("odd://x", "cannot read the MLflow")],
)
def test_an_address_of_nothing_is_refused_in_a_line(cli: Cli, tmp_path: Path, source: str, message: str) -> None:
    (line,) = cli("import", source, code=2).errors
    assert message in line
    assert not (tmp_path / "nowhere.db").exists()


def test_a_missing_extra_is_named(cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "alembic" else find(name))
    (line,) = cli("import", store, code=2).errors
    assert line.endswith("pip install 'nnopt[mlflow]'")
