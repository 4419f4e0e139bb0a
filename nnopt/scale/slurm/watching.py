"""What a run that trains elsewhere would say, as its files tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nnopt.errors import NnoptError
from nnopt.plan import RunSpec
from nnopt.scale.agency import Words
from nnopt.store.place import place
from nnopt.store.record import FINISHED, METRICS, RunRecord, read_columns
from nnopt.train.listener import Moment

Row = dict[str, Any]


class Watch:
    """Looks at the folders of a job's runs, and tells once what is new there, in the words of a listener."""

    def __init__(self, runs: Sequence[RunSpec], runs_dir: Path = Path()) -> None:
        self.runs_dir = runs_dir
        self.runs = list(runs)
        self.begun = {run.label: _sitting(_found(run, runs_dir)) for run in runs}  # before this job: not to be told
        self.step = -1  # of the last row that was told
        self.is_told = False  # whether the first of `runs` was said to have started
        self.notes: list[Words] = []

    def say(self, label: str, text: str) -> None:
        """What the job itself noted."""
        self.notes.append(("note", label, text))

    def look(self) -> Iterator[Words]:
        """What is new."""
        while self.runs:
            run = self.runs[0]
            record = _found(run, self.runs_dir)
            if record is None or _sitting(record) == self.begun[run.label]:
                return
            summary = record.summary
            if not self.is_told:
                self.is_told, self.step = True, int(summary.get("steps") or 0)
                yield "started", run.label, self.step
            for row in self._rows(record):
                yield "row", run.label, row
                yield "moment", run.label, _moment(run, row)
            if record.status == "running":
                return
            yield "ended", run.label, record.status, str(summary.get("reason") or "")
            self.runs.pop(0)
            self.is_told = False

    def _rows(self, record: RunRecord) -> Iterator[Row]:
        try:
            columns = read_columns(record.folder / METRICS)
        except NnoptError:  # it is being written
            return
        for cells in zip(*columns.values(), strict=True):
            row = dict(zip(columns, cells, strict=True))
            if int(row["step"] or 0) > self.step:
                self.step = int(row["step"] or 0)
                yield row


def _found(run: RunSpec, runs_dir: Path) -> RunRecord | None:
    try:
        found = place(run, runs_dir)
    except NnoptError:
        return None
    return found.found if found.relation == "same" else None


def _sitting(record: RunRecord | None) -> object:
    """Tells one sitting of a run from the next."""
    if record is None:
        return None
    return record.summary.get("started"), record.status in FINISHED


def _moment(run: RunSpec, row: Row) -> Moment:
    budget = run.settings.budget
    reached = {"steps": row["step"], "epochs": row["epoch"], "seconds": row["train_seconds"]}
    share = next(
        ((reached[unit] or 0.0) / whole for unit in reached if (whole := getattr(budget, unit, None))),
        0.0,
    )
    loss, seconds = row.get("train_loss"), row["train_seconds"] or 0.0
    return Moment(
        step=int(row["step"] or 0),
        share=min(1.0, share),
        loss=float("nan") if loss is None else loss,
        lr=row.get("lr") or 0.0,
        samples_per_second=(row["samples"] or 0.0) / seconds if seconds else 0.0,
    )
