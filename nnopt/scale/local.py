"""Workers on this machine: processes with a pipe each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from nnopt.scale.agency import LOST, Agency, Words, Worker
from nnopt.scale.forks import context
from nnopt.scale.supply import Job
from nnopt.scale.worker import work
from nnopt.surroundings import Surroundings
from nnopt.train.experiment import Options
from nnopt.train.signals import no_interrupts


class LocalWorker(Worker):
    """A process that waits for jobs at its end of a pipe."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        super().__init__()
        self.process = process
        self.connection = connection

    def send(self, job: Job) -> None:
        """As the base class says."""
        self.connection.send(job)

    def ask_to_stop(self, code: int) -> None:
        """As the base class says."""
        if self.process.is_alive():
            self.process.terminate()

    def bury(self) -> str:
        """As the base class says."""
        self.process.join(timeout=10)
        self.connection.close()
        return f"its process died (exit code {self.process.exitcode})"


class LocalAgency(Agency):
    """Starts processes, which import and load for themselves."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def hire(self) -> Worker:
        """As the base class says."""
        way = context()
        ours, theirs = way.Pipe()
        # No daemon: those have no processes of their own, and a run may want some. It ends as its connection closes.
        process = way.Process(target=work, args=(theirs, self.options, Surroundings.whole()))
        with no_interrupts():
            process.start()
        theirs.close()
        return LocalWorker(process, ours)

    def listen(self, workers: Sequence[Worker], seconds: float) -> Iterator[tuple[Worker, Words]]:
        """As the base class says."""
        by_connection = {worker.connection: worker for worker in cast(Sequence[LocalWorker], workers)}
        connections: list[Any] = list(by_connection)
        for ready in wait(connections, timeout=seconds):
            worker = by_connection[cast(Connection, ready)]
            try:
                yield worker, worker.connection.recv()
            except (EOFError, ConnectionError):
                yield worker, (LOST,)

    def dismiss(self, workers: Sequence[Worker]) -> None:
        """As the base class says."""
        hired = cast(Sequence[LocalWorker], workers)
        for worker in hired:
            if worker.job is not None:
                worker.process.terminate()
            worker.connection.close()
        for worker in hired:
            worker.process.join(timeout=30)
