"""The trackers of one run: what was sent, what is due, and that none of them harms the run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnopt.errors import UsageError
from nnopt.store.files import write_json
from nnopt.store.record import METRICS, STEPS, Columns, read_columns
from nnopt.track.mlflow import MlflowTracker
from nnopt.track.tensorboard import TensorBoardTracker
from nnopt.track.tracker import Outcome, Point, Subject, Tracker
from nnopt.track.wandb import WandbTracker

TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "mlflow": MlflowTracker,
    "wandb": WandbTracker,
}
SENT = "track.json"
SECONDS_BETWEEN_STEPS = 10.0  # how long logged steps wait for an evaluation to go out with

Row = Mapping[str, float | int | str | None]


def check_installed(names: Iterable[str]) -> None:
    """Refuses trackers that cannot be imported here; imports none.

    Raises:
        UsageError: names the extra to install.
    """
    for name in names:
        if any(importlib.util.find_spec(module) is None for module in TRACKERS[name].modules):
            raise UsageError(f"track: {name} is not installed here: pip install 'nnopt[{name}]'")


@dataclass
class Sent:
    """What one tool has of the run: its id there, the last step of metrics.csv and of steps.csv (-1: none)."""

    id: str | None = None
    row_step: int = -1
    logged_step: int = -1


class Tracking:
    """The trackers of one run, kept from harming it: one that fails is switched off for the sitting, and it is said.

    `track.json` in the run's folder holds what each was sent, so that a resumed run sends nothing twice; a kill
    between sending and noting it repeats one point at its own step. Rows of the tables that a tracker has missed
    (it failed, or joined late) are sent when the next sitting begins.
    """

    def __init__(
        self, names: Sequence[str] = (), subject: Subject | None = None, warn: Callable[[str], object] = print
    ) -> None:
        self.warn = warn
        self.trackers: dict[str, Tracker] = {}
        self.waiting: list[dict[str, float | None]] = []  # rows of steps.csv
        self.since = time.monotonic()
        if subject is None or not names:
            return
        self.file = subject.folder / SENT
        self.sent = _read(self.file)
        self.trackers = {name: TRACKERS[name](subject) for name in names}
        for name, tracker in list(self.trackers.items()):
            self._begin(name, tracker, subject.folder)
        self._note()

    def steps(self, rows: Iterable[Sequence[float | None]]) -> None:
        """Takes in rows of steps.csv (step, loss, lr, gradient norm), which go out with the next evaluation."""
        if not self.trackers:
            return
        self.waiting += [dict(zip(("step", "loss", "lr", "grad_norm"), row, strict=True)) for row in rows]
        if time.monotonic() - self.since > SECONDS_BETWEEN_STEPS:
            # The newest waits on: an evaluation may follow at its step, and wandb closes a step once another came.
            self._send([], self.waiting[:-1])

    def row(self, row: Row) -> None:
        """Sends a row of metrics.csv, with the logged steps up to it."""
        if self.trackers:
            self._send([row], self.waiting)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Says how the run ended; the trackers are closed."""
        if self.trackers:
            self._send([], self.waiting)
        for name, tracker in list(self.trackers.items()):
            with self._unharmed(name, tracker):
                tracker.end(Outcome.of(summary))
        self.trackers.clear()

    def close(self) -> None:
        """Closes what was not ended."""
        for name, tracker in list(self.trackers.items()):
            with self._unharmed(name, tracker):
                tracker.close()
        self.trackers.clear()

    def _begin(self, name: str, tracker: Tracker, folder: Path) -> None:
        before = self.sent.get(name, Sent())
        with self._unharmed(name, tracker):
            run_id = tracker.begin(before.id)
            self.sent[name] = before if run_id == before.id else Sent(run_id)
            metrics, logged = (_rows(read_columns(folder / table)) for table in (METRICS, STEPS))
            self._send_to(name, tracker, metrics, logged)

    def _send(self, rows: Sequence[Row], logged: Sequence[Row]) -> None:
        for name, tracker in list(self.trackers.items()):
            with self._unharmed(name, tracker):
                self._send_to(name, tracker, rows, logged)
        del self.waiting[: len(logged)]
        self.since = time.monotonic()
        self._note()

    def _send_to(self, name: str, tracker: Tracker, rows: Iterable[Row], logged: Iterable[Row]) -> None:
        sent = self.sent[name]
        points: dict[int, dict[str, float]] = {}
        row_step, logged_step = sent.row_step, sent.logged_step
        for row in logged:
            if (step := _step(row)) > sent.logged_step:
                points.setdefault(step, {}).update({f"steps/{key}": value for key, value in _values(row)})
                logged_step = max(logged_step, step)
        for row in rows:
            if (step := _step(row)) > sent.row_step:
                points.setdefault(step, {}).update(_values(row))
                row_step = max(row_step, step)
        if points:
            tracker.send([Point(step, points[step]) for step in sorted(points)])
        sent.row_step, sent.logged_step = row_step, logged_step

    def _note(self) -> None:
        """Writes track.json. A disk that refuses is for the run itself to report."""
        with contextlib.suppress(Exception):
            write_json(self.file, {name: asdict(sent) for name, sent in self.sent.items()})

    @contextlib.contextmanager
    def _unharmed(self, name: str, tracker: Tracker) -> Iterator[None]:
        """Says what goes wrong within, and switches the tracker off."""
        try:
            with tracker.quiet():
                yield
        except Exception as error:
            self.trackers.pop(name, None)
            with contextlib.suppress(Exception), tracker.quiet():
                tracker.close()
            what = " ".join((str(error).strip() or type(error).__name__).split())[:300]
            self.warn(f"{name} is switched off for now, training goes on: {what}")


def _step(row: Row) -> int:
    return int(row["step"] or 0)


def _values(row: Row) -> Iterator[tuple[str, float]]:
    return ((key, float(value)) for key, value in row.items() if key != "step" and value is not None)


def _rows(columns: Columns) -> list[Row]:
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _read(file: Path) -> dict[str, Sent]:
    """track.json; one that is absent or damaged means that nothing was sent."""
    try:
        content = json.loads(file.read_bytes())
        return {
            str(name): Sent(str(sent["id"]), int(sent["row_step"]), int(sent["logged_step"]))
            for name, sent in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
