"""Work that is given out piece by piece: what comes next may depend on how earlier pieces ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from nnopt.plan import RunSpec
from nnopt.store.record import RunRecord
from nnopt.train.session import Cut

__all__ = ["Cut", "Fixed", "Job", "Supply"]


@dataclass(frozen=True)
class Job:
    """Runs (at least one) that one worker trains one after the other, up to the first that is not done.

    `is_taken_up`: another worker was at it, and was lost.
    """

    runs: tuple[RunSpec, ...]
    cut: Cut | None = None
    is_taken_up: bool = False


class Supply(Protocol):
    """Where jobs come from, and who hears how they ended."""

    def take(self) -> Job | None:
        """The next job, or None: one that is in hand has to end first or, where none is, none will come any more."""
        ...

    def ended(self, job: Job, died: str | None) -> None:
        """A job that was taken is over; `died`: its process broke down, in words. Not called after an interruption."""
        ...


class Fixed:
    """A list of runs, a job each, as `nnopt train` has; one that learns from others of them waits for their end.

    `dead`: the labels of those whose worker died.
    """

    def __init__(self, runs: Iterable[RunSpec]) -> None:
        self._waiting = list(runs)
        self._open = {run.label for run in self._waiting}  # those that have not ended
        self.dead: set[str] = set()

    def marked(self, record: RunRecord) -> RunRecord:
        """The record of one of the runs, failed where its worker died: its summary could not be told."""
        return replace(record, status="failed") if record.name in self.dead else record

    def take(self) -> Job | None:
        """As Supply says."""
        ready = (at for at, run in enumerate(self._waiting) if self._open.isdisjoint(run.learns_from))
        at = next(ready, None)
        return None if at is None else Job((self._waiting.pop(at),))

    def ended(self, job: Job, died: str | None) -> None:
        """As Supply says."""
        labels = {run.label for run in job.runs}
        self._open -= labels
        if died is not None:
            self.dead |= labels
