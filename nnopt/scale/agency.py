"""Where the workers of a crew come from: processes of this machine, a Ray cluster, SLURM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # workers elsewhere read the words below before they may import torch
    from nnopt.scale.needs import Needs
    from nnopt.scale.supply import Job

# What a worker says besides the words of a listener.
READY = "ready"  # it can take a job
FREE = "free"  # it has ended its job: status, and (exit code, text) of what ends all jobs or None
LOST = "lost"  # it is gone, and why

Words = tuple[Any, ...]


class Worker:
    """One that trains jobs, as the crew sees it."""

    is_ready = True  # for a job: it has begun

    def __init__(self) -> None:
        self.job: Job | None = None
        self.label = ""  # of the run that it last spoke of

    def send(self, job: Job) -> None:
        """Hands a job over.

        Raises:
            OSError: the worker is gone.
        """
        raise AssertionError("each agency has workers of its own")

    def ask_to_stop(self, code: int) -> None:
        """The run in hand is to end at a checkpoint; `code` is the program's exit code."""

    def bury(self) -> str:
        """Clears up after a worker that is gone; why, in words."""
        return ""


class Agency:
    """Starts workers and passes on what they say; open for as long as a crew is at work."""

    workers_stay = True  # for the next job

    def fit(self, needs: Needs) -> None:
        """Says what a run takes, before the first worker is hired."""

    def open(self) -> None:
        """Gets ready to start workers.

        Raises:
            UsageError: it cannot be reached, or is not installed.
        """

    def room(self, wanted: int | None) -> int:
        """How many workers there may be at a time, `wanted` being what the user asked for.

        Raises:
            UsageError: none, whatever one waits for.
        """
        return wanted or 1

    def hire(self) -> Worker:
        """A new worker."""
        raise AssertionError("each agency has workers of its own")

    def listen(self, workers: Sequence[Worker], seconds: float) -> Iterator[tuple[Worker, Words]]:
        """What workers have to say; waits for it so long at most."""
        raise AssertionError("each agency has workers of its own")

    def dismiss(self, workers: Sequence[Worker]) -> None:
        """Ends all workers, which checkpoint first."""

    def close(self) -> None:
        """The agency itself is no longer needed."""
