"""The process of a worker: imports torch and loads data once, and trains the jobs that it is handed."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection
from typing import Any

from nnopt.errors import NnoptError
from nnopt.scale.supply import Job
from nnopt.train.experiment import Options
from nnopt.train.listener import Listener, Moment
from nnopt.train.runner import Workshop, run_one
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest, stop_requests

FREE = "free"  # the word by which a worker says that it can take another job


def carry_out_job(job: Job, shop: Workshop, fresh: bool) -> str:
    """Trains the runs of a job up to the first that is not done; the status of the last that was looked at.

    Raises:
        Interrupted, DiskError, UsageError: as `run_one`.
    """
    status = "done"
    for run in job.runs:
        shop.stop.raise_if_set()
        status = run_one(run, shop, fresh, job.cut).status
        if status != "done":
            break
    return status


class Sender(Listener):
    """Sends what a worker's training says to the process that listens."""

    def __init__(self, connection: Connection, stop: StopRequest) -> None:
        self.connection = connection
        self.stop = stop

    def send(self, *words: Any) -> None:
        """Sends a message; where nobody listens any more, asks the run to stop at a checkpoint."""
        try:
            self.connection.send(words)
        except OSError:
            self.stop.code = self.stop.code or 128 + signal.SIGTERM

    def skipped(self, label: str, status: str) -> None:
        """As the base class says."""
        self.send("skipped", label, status)

    def started(self, label: str, from_step: int) -> None:
        """As the base class says."""
        self.send("started", label, from_step)

    def moment(self, label: str, moment: Moment) -> None:
        """As the base class says."""
        self.send("moment", label, moment)

    def row(self, label: str, row: dict[str, Any]) -> None:
        """As the base class says."""
        self.send("row", label, row)

    def note(self, label: str, text: str) -> None:
        """As the base class says."""
        self.send("note", label, text)

    def ended(self, label: str, status: str, reason: str) -> None:
        """As the base class says."""
        self.send("ended", label, status, reason)


def work(connection: Connection, options: Options) -> None:
    """Trains the jobs that come through `connection` until it closes; in between the process sleeps."""
    cache = DataCache()
    with stop_requests() as stop:
        # Ctrl-C reaches the whole group: the parent passes it on once.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sender = Sender(connection, stop)
        shop = Workshop(options.runs_dir, cache, sender, stop, options.most_threads)
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            status, error = "", None
            try:
                status = carry_out_job(job, shop, options.fresh)
            except NnoptError as problem:
                error = (problem.exit_code, str(problem))
            sender.send(FREE, status, error)
            if stop.code is not None:
                return
