"""MLflow: MLFLOW_TRACKING_URI where it is set, else `mlflow.db` (SQLite) in the runs folder."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nnopt.track.tracker import Outcome, Plain, Point, Tracker

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

STORE = "mlflow.db"
LOCK = ".mlflow.db.lock"
LOCK_SECONDS = 120.0
# What one request of MLflow's REST interface may hold.
MAX_METRICS, MAX_PARAMS, MAX_VALUE = 1000, 100, 6000
ENDS = {"done": "FINISHED", "interrupted": "KILLED"}  # every other status is FAILED


class MlflowTracker(Tracker):
    """Writes to an MLflow store: our experiment is its experiment, `variant/seed-n` its run."""

    modules = ("mlflow", "sqlalchemy", "alembic")
    loggers = ("mlflow", "alembic", "sqlalchemy", "urllib3")
    # No usage data is sent, no handler put on loggers, and a server that is away costs seconds, not minutes:
    # training waits for it.
    environment: ClassVar[Mapping[str, str]] = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    }

    client: MlflowClient
    run_id = ""

    def begin(self, run_id: str | None) -> str:
        """As the base class says; a run that is no longer in the store begins anew."""
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        with self._alone():
            self.client = MlflowClient(tracking_uri=self._uri())
            known = None
            if run_id is not None:
                with contextlib.suppress(MlflowException):
                    known = self.client.get_run(run_id)
            if known is not None and known.info.lifecycle_stage == "active":
                self.run_id = known.info.run_id
                self.client.update_run(self.run_id, status="RUNNING")
                self._describe(known.data.params)
            else:
                self.run_id = self.client.create_run(self._experiment(), run_name=self.subject.name).info.run_id
                self._describe({})
        return self.run_id

    def send(self, points: Sequence[Point]) -> None:
        """As the base class says."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, point.step) for point in points for name, value in point.values.items()]
        with self._alone():
            for start in range(0, len(metrics), MAX_METRICS):
                self.client.log_batch(self.run_id, metrics=metrics[start : start + MAX_METRICS])

    def end(self, outcome: Outcome) -> None:
        """As the base class says."""
        if outcome.numbers:
            self.send([Point(outcome.step, outcome.numbers)])
        with self._alone():
            self._tag({"nnopt.status": outcome.status, "nnopt.reason": outcome.reason})
            self.client.set_terminated(self.run_id, ENDS.get(outcome.status, "FAILED"))

    def close(self) -> None:
        """Nothing is open between two requests."""

    def _uri(self) -> str:
        own = (self.subject.runs_dir.resolve() / STORE).as_posix()
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{own}"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time makes, brings up to date and writes our own store: SQLite has a single writer."""
        from filelock import FileLock

        if os.environ.get("MLFLOW_TRACKING_URI"):
            yield
            return
        with FileLock(self.subject.runs_dir / LOCK, timeout=LOCK_SECONDS):
            yield

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = self.subject.experiment
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(name))
        except MlflowException:  # another process was faster
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _describe(self, known: dict[str, str]) -> None:
        """Parameters and tags. A parameter of MLflow never changes: one that did (a longer budget) becomes a tag."""
        from mlflow.entities import Param

        params = {name: _text(value) for name, value in self.subject.hyperparameters().items()}
        new = [Param(name, value) for name, value in params.items() if name not in known]
        for start in range(0, len(new), MAX_PARAMS):
            self.client.log_batch(self.run_id, params=new[start : start + MAX_PARAMS])
        self._tag({name: value for name, value in params.items() if known.get(name, value) != value})
        subject = self.subject
        self._tag({"nnopt.variant": subject.variant, "nnopt.spec_hash": subject.spec_hash, "nnopt.status": "running"})
        if subject.tags:
            self._tag({"nnopt.tags": ", ".join(subject.tags)})
        if subject.notes:
            self._tag({"mlflow.note.content": subject.notes})

    def _tag(self, tags: dict[str, str]) -> None:
        for name, value in tags.items():
            self.client.set_tag(self.run_id, name, value[:MAX_VALUE])


def _text(value: Plain) -> str:
    text: Any = value if isinstance(value, str) else json.dumps(value)
    return str(text)[:MAX_VALUE]
