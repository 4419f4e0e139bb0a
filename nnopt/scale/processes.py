"""Runs of one plan side by side: worker processes that import torch and load data once."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from nnopt.errors import Interrupted, NnoptError
from nnopt.plan import Plan, RunSpec
from nnopt.store.find import read_run
from nnopt.store.place import place
from nnopt.store.record import RunRecord
from nnopt.train.devices import cores
from nnopt.train.experiment import BAD, Options, check_plan
from nnopt.train.listener import Listener, Moment
from nnopt.train.runner import Workshop, run_one
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest, stop_requests


def train_side_by_side(plan: Plan, options: Options, listener: Listener, jobs: int) -> list[RunRecord]:
    """As `train_plan`, with `jobs` runs at a time, each in a process of its own.

    A worker that dies costs the run it was at, not the others: the run can be resumed, and is reported as failed.
    """
    with stop_requests() as stop:
        left, threads = check_plan(plan, options, DataCache())
        if min(jobs, len(left)) * threads > cores():
            listener.note(plan.experiment.name, _too_many(jobs, threads))
        finished = [run for run in plan.runs if run not in left]
        for run in finished:
            record = place(run, options.runs_dir).found
            listener.skipped(run.label, record.status if record else "done")
        dead = _Crew(options, listener, stop, min(jobs, max(len(left), 1))).carry_out(left)
    records = []
    for run in plan.runs:
        found = place(run, options.runs_dir)
        if found.found is not None and found.relation == "same":
            record = read_run(found.folder)
            records.append(record if run.label not in dead else _as_failed(record))
    return records


def _too_many(jobs: int, threads: int) -> str:
    return (
        f"{jobs} jobs of {threads} threads each on {cores()} cores get in each other's way; "
        "strategy.threads=1 lets each run take one (another thread count is another run, with other rounding)"
    )


def _as_failed(record: RunRecord) -> RunRecord:
    return dataclasses.replace(record, status="failed")


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    run: RunSpec | None = None


@dataclass
class _Crew:
    """The workers of one plan, seen from the process that gives them their runs."""

    options: Options
    listener: Listener
    stop: StopRequest
    size: int
    workers: list[_Worker] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    over: bool = False  # no further run is begun, and those in hand are asked to stop
    error: NnoptError | None = None

    def carry_out(self, runs: list[RunSpec]) -> set[str]:
        """Gives each run to a worker that is free; the labels of runs whose worker died.

        Raises:
            NnoptError: what ended the whole plan: an interruption, a full disk, a folder held by another program.
        """
        waiting = deque(runs)
        try:
            while (waiting and not self.over) or any(worker.run for worker in self.workers):
                if self.stop.code is not None and not self.over:
                    self.error = Interrupted(self.stop.code)
                    self._end()
                while waiting and not self.over and self._give(waiting[0]):
                    waiting.popleft()
                self._listen()
        finally:
            for worker in self.workers:
                if worker.run is not None:
                    worker.process.terminate()
                worker.connection.close()
            for worker in self.workers:
                worker.process.join(timeout=30)
        if self.error is not None:
            raise self.error
        return self.dead

    def _give(self, run: RunSpec) -> bool:
        """Hands `run` to a free worker, a new one if need be; False where all are busy."""
        free = next((worker for worker in self.workers if worker.run is None), None)
        if free is None:
            if len(self.workers) >= self.size:
                return False
            free = self._hire()
        free.run = run
        free.connection.send(run)
        return True

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        # Threads that wait for work should sleep, not spin on a core that another run could use; read as torch loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.options), daemon=True)
        with _no_interrupts():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self.workers.append(worker)
        return worker

    def _listen(self) -> None:
        """Passes on what workers say, and notices those that died."""
        connections: list[Any] = [worker.connection for worker in self.workers]
        for ready in wait(connections, timeout=0.2):
            worker = next(worker for worker in self.workers if worker.connection is ready)
            try:
                name, *words = cast(tuple[Any, ...], worker.connection.recv())
            except (EOFError, ConnectionError):
                self._bury(worker)
                continue
            if name == "free":
                self._took(worker, *words)
            else:
                getattr(self.listener, name)(*words)

    def _took(self, worker: _Worker, status: str, error: tuple[int, str] | None) -> None:
        worker.run = None
        if self.over:
            return
        if error is not None:
            self.error = NnoptError(error[1])
            self.error.exit_code = error[0]
            self._end()
        elif status in BAD and self.options.fail_fast:
            self._end()

    def _bury(self, worker: _Worker) -> None:
        worker.process.join(timeout=10)
        self.workers.remove(worker)
        if worker.run is not None and not self.over:
            label = worker.run.label
            self.dead.add(label)
            reason = f"its process died (exit code {worker.process.exitcode}); run the same command again to resume it"
            self.listener.ended(label, "failed", reason)

    def _end(self) -> None:
        self.over = True
        for worker in self.workers:
            if worker.process.is_alive():
                worker.process.terminate()


class _Sender(Listener):
    """Sends what a worker's training says to the process that listens."""

    def __init__(self, connection: Connection, stop: StopRequest) -> None:
        self._connection = connection
        self._stop = stop

    def send(self, *words: Any) -> None:
        """Sends a message; where nobody listens any more, asks the run to stop at a checkpoint."""
        try:
            self._connection.send(words)
        except OSError:
            self._stop.code = self._stop.code or 128 + signal.SIGTERM

    def skipped(self, label: str, status: str) -> None:
        self.send("skipped", label, status)

    def started(self, label: str, from_step: int) -> None:
        self.send("started", label, from_step)

    def moment(self, label: str, moment: Moment) -> None:
        self.send("moment", label, moment)

    def row(self, label: str, row: dict[str, Any]) -> None:
        self.send("row", label, row)

    def note(self, label: str, text: str) -> None:
        self.send("note", label, text)

    def ended(self, label: str, status: str, reason: str) -> None:
        self.send("ended", label, status, reason)


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """A process started within does not hear Ctrl-C until it says so itself; this one hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # starting it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, options: Options) -> None:
    """A worker: trains the runs it is given until the connection closes."""
    cache = DataCache()
    with stop_requests() as stop:
        # Ctrl-C reaches the whole group: the parent passes it on once.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sender = _Sender(connection, stop)
        shop = Workshop(options.runs_dir, cache, sender, stop)
        while True:
            try:
                run = connection.recv()
            except EOFError:
                return
            status, error = "", None
            try:
                status = run_one(run, shop, options.fresh).status
            except NnoptError as problem:
                error = (problem.exit_code, str(problem))
            sender.send("free", status, error)
            if stop.code is not None:
                return
