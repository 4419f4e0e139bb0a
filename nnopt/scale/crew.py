"""Jobs carried out in this process or by workers, as they come from a supply."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, cast

from nnopt.errors import Interrupted, NnoptError
from nnopt.scale.supply import Fixed, Job, Supply
from nnopt.scale.worker import FREE, carry_out_job, work
from nnopt.train.experiment import BAD, Options
from nnopt.train.listener import Listener
from nnopt.train.runner import Workshop
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest


def carry_out(
    supply: Supply, options: Options, listener: Listener, stop: StopRequest, jobs: int, cache: DataCache | None = None
) -> None:
    """Carries out what `supply` gives until it has no more, as a crew of its own does.

    Raises:
        NnoptError: as `Crew.carry_out`.
    """
    with Crew(options, listener, stop, jobs, cache) as crew:
        crew.carry_out(supply)


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None
    label: str = ""  # of the run it last spoke of


class Crew:
    """Carries out jobs while a `with` block lasts: one at a time in this process, or up to `jobs` in workers.

    Workers are started as there are jobs for them, and stay until the block ends: those of the next supply need not
    import and load again. One that dies costs the job it was at, not the others: that run can be resumed. `cache`
    holds the data sets of this process, which workers load for themselves.
    """

    def __init__(
        self, options: Options, listener: Listener, stop: StopRequest, jobs: int, cache: DataCache | None = None
    ) -> None:
        self.options = options
        self.listener = listener
        self.stop = stop
        self.size = jobs
        self.shop = Workshop(options.runs_dir, cache or DataCache(), listener, stop, options.most_threads)
        self.supply: Supply = Fixed(())
        self.workers: list[_Worker] = []
        self.over = False  # no further job is begun, and those in hand are asked to stop
        self.error: NnoptError | None = None

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            if worker.job is not None:
                worker.process.terminate()
            worker.connection.close()
        for worker in self.workers:
            worker.process.join(timeout=30)

    def carry_out(self, supply: Supply) -> None:
        """Carries out what `supply` gives until it has no more.

        With `options.fail_fast` nothing is begun after a run that failed or diverged.

        Raises:
            NnoptError: what ended the whole: an interruption, a full disk, a folder held by another program.
        """
        self.supply = supply
        if self.size == 1:
            self._alone()
        else:
            self._with_workers()

    def _alone(self) -> None:
        self.stop.raise_if_set()
        while not self.over and (job := self.supply.take()) is not None:
            status = carry_out_job(job, self.shop, self.options.fresh)
            self.supply.ended(job, None)
            self.over = status in BAD and self.options.fail_fast
            self.stop.raise_if_set()

    def _with_workers(self) -> None:
        while True:
            if self.stop.code is not None and not self.over:
                self.error = Interrupted(self.stop.code)
                self._end()
            if not self.over:
                self._give_out()
            if not any(worker.job for worker in self.workers):
                break
            self._listen()
        if self.error is not None:
            raise self.error

    def _give_out(self) -> None:
        """Hands jobs to workers that are free, and to new ones, while there are both."""
        while sum(worker.job is not None for worker in self.workers) < self.size:
            job = self.supply.take()
            if job is None:
                return
            self._give(job)

    def _give(self, job: Job) -> None:
        for worker in [worker for worker in self.workers if worker.job is None]:
            try:
                worker.connection.send(job)
            except OSError:  # it died while it had nothing to do
                self._bury(worker)
                continue
            worker.job, worker.label = job, job.runs[0].label
            return
        worker = self._hire()
        worker.job, worker.label = job, job.runs[0].label
        with contextlib.suppress(OSError):  # it died at once: noticed as it is later on
            worker.connection.send(job)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        # Threads that wait for work should sleep, not spin on a core that another run could use; read as torch loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self.options), daemon=True)
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
            if name == FREE:
                self._took(worker, *words)
            else:
                worker.label = words[0]
                getattr(self.listener, name)(*words)

    def _took(self, worker: _Worker, status: str, error: tuple[int, str] | None) -> None:
        """A job came to its end, or what ends them all came up in it."""
        job, worker.job = worker.job, None
        if self.over or job is None:
            return
        if error is not None:
            self.error = NnoptError(error[1])
            self.error.exit_code = error[0]
            self._end()
            return
        self.supply.ended(job, None)
        if status in BAD and self.options.fail_fast:
            self._end()

    def _bury(self, worker: _Worker) -> None:
        worker.process.join(timeout=10)
        worker.connection.close()
        self.workers.remove(worker)
        if worker.job is None or self.over:
            return
        died = f"its process died (exit code {worker.process.exitcode})"
        self.listener.ended(worker.label, "failed", f"{died}; run the same command again to resume it")
        self.supply.ended(worker.job, died)
        if self.options.fail_fast:
            self._end()

    def _end(self) -> None:
        self.over = True
        for worker in self.workers:
            if worker.process.is_alive():
                worker.process.terminate()


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
