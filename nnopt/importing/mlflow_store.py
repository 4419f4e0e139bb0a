"""Runs out of an MLflow store: a SQLite file, or a tracking server."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.errors import UsageError
from nnopt.importing.source import Plain, SourceRun
from nnopt.quiet import quiet

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

MODULES = ("mlflow", "sqlalchemy", "alembic")
SQLITE = b"SQLite format 3\x00"
PREFIX = "sqlite:///"
TABLES = {"experiments", "runs", "metrics", "params", "tags"}
STATUSES = {
    "FINISHED": ("done", ""),
    "FAILED": ("failed", "failed in MLflow"),
    "KILLED": ("interrupted", "killed in MLflow"),
    "RUNNING": ("running", "still running in MLflow when it was imported"),
    "SCHEDULED": ("running", "not begun in MLflow when it was imported"),
}
OWN_STATUSES = ("diverged", "pruned")  # of our tracker, where MLflow has just FAILED
WORDS: dict[str, Plain] = {"True": True, "False": False}
LARGEST = 1.797e308  # MLflow's database has this in place of infinity
SYSTEM = "system/"  # MLflow's own metrics of the machine, whose steps are counts of samples
QUIET = ("mlflow", "alembic", "sqlalchemy", "urllib3")
# No usage data is sent, no log handler made; a server that does not answer is given up within seconds.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def is_store(source: str) -> bool:
    """Whether `source` is an address of a store, or a SQLite file."""
    if "://" in source:
        return True
    path = Path(source)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def read_mlflow(source: str, experiment: str | None) -> list[SourceRun]:
    """The runs of all experiments of a store, or of the one called `experiment` where there is such a one.

    Raises:
        UsageError: nothing is there, it is no store of MLflow, or MLflow is not installed.
    """
    import importlib.util

    uri = _checked_uri(source)
    if any(importlib.util.find_spec(module) is None for module in MODULES):
        raise UsageError("reading an MLflow store takes MLflow: pip install 'nnopt[mlflow]'")
    with quiet(QUIET, ENVIRONMENT):
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            client = MlflowClient(tracking_uri=uri)
            found = [_read(client, name, run) for name, run in _runs(client, experiment)]
        except MlflowException as error:
            reason = " ".join(str(error).split())[:300]
            raise UsageError(f"cannot read the MLflow store {source}: {reason}") from None
    if not found:
        raise UsageError(f"the MLflow store {source} holds no runs")
    return found


def _checked_uri(source: str) -> str:
    """The address of the store, after a look that a file is one: MLflow would make an empty store of it."""
    if "://" in source and not source.startswith(PREFIX):
        return source
    path = Path(source.removeprefix(PREFIX))
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise UsageError(f"{path} is no database of MLflow: {error}") from None
    if not names >= TABLES:
        raise UsageError(f"{path} is no database of MLflow: it has no table {min(TABLES - names)}")
    return f"{PREFIX}{path.resolve().as_posix()}"


def _runs(client: MlflowClient, wanted: str | None) -> Iterator[tuple[str, Run]]:
    """Every run with its experiment's name, the oldest first."""
    experiments = list(_pages(lambda token: client.search_experiments(page_token=token)))
    chosen = [experiment for experiment in experiments if experiment.name == wanted] or experiments
    for experiment in sorted(chosen, key=lambda experiment: int(experiment.creation_time or 0)):
        ids = [experiment.experiment_id]
        runs = list(_pages(lambda token, ids=ids: client.search_runs(ids, page_token=token)))
        for run in sorted(runs, key=lambda run: (run.info.start_time or 0, run.info.run_id)):
            yield experiment.name, run


def _pages(ask: Any) -> Iterator[Any]:
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def _read(client: MlflowClient, experiment: str, run: Run) -> SourceRun:
    info, data = run.info, run.data
    found = SourceRun(info.run_name or info.run_id, info.run_id, experiment)
    # Our tracker keeps a parameter that changed (a longer budget) as a tag of the same name.
    found.hyperparameters = {name: _value(data.tags.get(name, text)) for name, text in data.params.items()}
    found.status, found.reason = STATUSES.get(info.status, ("done", ""))
    own = data.tags.get("nnopt.status")
    if own in OWN_STATUSES:
        found.status = str(own)
    found.reason = data.tags.get("nnopt.reason", found.reason)
    found.text = data.tags.get("mlflow.note.content", "")
    found.tags = tuple(filter(None, data.tags.get("nnopt.tags", "").split(", ")))
    if "variant" in data.tags:
        found.hyperparameters.setdefault("variant", data.tags["variant"])
    walls: list[tuple[int, float]] = []
    for name in sorted(data.metrics):
        if name.startswith(SYSTEM):
            continue
        for metric in sorted(client.get_metric_history(info.run_id, name), key=lambda metric: metric.timestamp):
            value = metric.value if abs(metric.value) < LARGEST else math.copysign(math.inf, metric.value)
            found.add(name, int(metric.step), float(value))
            walls.append((int(metric.step), metric.timestamp / 1000))
    first = info.start_time / 1000 if info.start_time else min((wall for _, wall in walls), default=0.0)
    found.set_times(walls, first)
    return found


def _value(text: str) -> Plain:
    """A parameter, which MLflow keeps as text: a number where it reads as one."""
    if text in WORDS:
        return WORDS[text]
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text
