"""Jobs carried out in this process or by workers, as they come from a supply."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace
from types import TracebackType

from nnopt.errors import Interrupted, NnoptError, UsageError
from nnopt.scale.agency import FREE, LOST, READY, Agency, Worker
from nnopt.scale.local import LocalAgency
from nnopt.scale.supply import Fixed, Job, Supply
from nnopt.scale.worker import carry_out_job
from nnopt.store.place import make_way
from nnopt.train.experiment import BAD, Options
from nnopt.train.listener import Listener
from nnopt.train.runner import Workshop
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest

SECONDS_TO_LISTEN = 0.2  # before signals are looked for again
MOST_FALSE_STARTS = 3  # workers in a row that are lost before they begin


def carry_out(
    supply: Supply,
    options: Options,
    listener: Listener,
    stop: StopRequest,
    jobs: int | None,
    cache: DataCache | None = None,
    agency: Agency | None = None,
) -> None:
    """Carries out what `supply` gives until it has no more, as a crew of its own does.

    Raises:
        NnoptError: as `Crew.carry_out`.
    """
    with Crew(options, listener, stop, jobs, cache, agency) as crew:
        crew.carry_out(supply)


class Crew:
    """Carries out jobs while a `with` block lasts: one at a time in this process, or several in workers.

    Workers come from `agency`: where that is None, up to `jobs` processes of this machine, or for one job this process
    itself. They are started as there are jobs for them, and stay until the block ends: those of the next supply need
    not import and load again. One that is lost costs the job it was at, not the others: that run is taken up from its
    checkpoint by another, `options.max_restarts` times. `cache` holds the data sets of this process, which workers load
    for themselves.
    """

    def __init__(
        self,
        options: Options,
        listener: Listener,
        stop: StopRequest,
        jobs: int | None,
        cache: DataCache | None = None,
        agency: Agency | None = None,
    ) -> None:
        self.options = options
        self.listener = listener
        self.stop = stop
        self.wanted = jobs
        self.is_alone = agency is None and (jobs or 1) == 1 and not options.max_restarts
        self.agency = agency or LocalAgency(replace(options, fresh=False))
        self.shop = Workshop(
            *(options.runs_dir, cache or DataCache(), listener, stop),
            *(options.most_threads, options.profile, options.max_restarts),
        )
        self.supply: Supply = Fixed(())
        self.workers: list[Worker] = []
        self.waiting: deque[Job] = deque()  # taken, for workers that are not ready yet
        self.losses: Counter[str] = Counter()  # of a run's workers, by its label
        self.false_starts = 0
        self.over = False  # no further job is begun, and those in hand are asked to stop
        self.error: NnoptError | None = None

    def __enter__(self) -> Crew:
        if not self.is_alone:
            self.agency.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.is_alone:
            self.agency.dismiss(self.workers)

    def carry_out(self, supply: Supply) -> None:
        """Carries out what `supply` gives until it has no more.

        With `options.fail_fast` nothing is begun after a run that failed or diverged.

        Raises:
            NnoptError: what ended the whole: an interruption, a full disk, a folder held by another program.
        """
        self.supply = supply
        if self.is_alone:
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
                self._end(Interrupted(self.stop.code))
            if not self.over:
                self._give_out()
            if not self.waiting and not any(worker.job for worker in self.workers):
                break
            self._listen()
        if self.error is not None:
            raise self.error

    def _give_out(self) -> None:
        """Hands jobs to workers that are ready, and hires for those that are left."""
        try:
            room = self.agency.room(self.wanted)
            while self._in_hand < room and (job := self.supply.take()) is not None:
                if self.options.fresh:
                    for run in job.runs:
                        make_way(run, self.options.runs_dir)
                self.waiting.append(job)
            for worker in [one for one in self.workers if one.is_ready and one.job is None]:
                self._give(worker)
            beginning = sum(not worker.is_ready for worker in self.workers)
            for _ in range(min(len(self.waiting), room) - beginning):
                worker = self.agency.hire()
                self.workers.append(worker)
                if worker.is_ready:
                    self._give(worker)
        except UsageError as error:
            self._end(error)

    @property
    def _in_hand(self) -> int:
        return len(self.waiting) + sum(worker.job is not None for worker in self.workers)

    def _give(self, worker: Worker) -> None:
        """Hands over the job that waits longest, where there is one."""
        if not self.waiting:
            return
        job = self.waiting.popleft()
        worker.job, worker.label = job, job.runs[0].label
        try:
            worker.send(job)
        except OSError:  # it died while it had nothing to do
            worker.job = None
            self.waiting.appendleft(job)
            self._bury(worker)
        except UsageError:  # it takes none
            self.workers.remove(worker)
            raise

    def _listen(self) -> None:
        """Passes on what workers say, and notices those that are lost."""
        began = time.monotonic()
        for worker, (name, *words) in self.agency.listen(list(self.workers), SECONDS_TO_LISTEN):
            if worker not in self.workers:
                continue
            if name == LOST:
                self._bury(worker)
            elif name == READY:
                worker.is_ready, self.false_starts = True, 0
            elif name == FREE:
                self._took(worker, *words)
            else:
                worker.label = words[0]
                getattr(self.listener, name)(*words)
        if not self.workers:  # while there is no room for any
            time.sleep(max(0.0, began + SECONDS_TO_LISTEN - time.monotonic()))

    def _took(self, worker: Worker, status: str, error: tuple[int, str] | None) -> None:
        """A job came to its end, or what ends them all came up in it."""
        job, worker.job = worker.job, None
        if not self.agency.workers_stay:
            self.workers.remove(worker)
        if self.over or job is None:
            return
        if error is not None:
            problem = NnoptError(error[1])
            problem.exit_code = error[0]
            self._end(problem)
            return
        self.supply.ended(job, None)
        if status in BAD and self.options.fail_fast:
            self._end()

    def _bury(self, worker: Worker) -> None:
        """A worker is lost: its run is taken up by another, or has failed."""
        self.workers.remove(worker)
        reason, job = worker.bury(), worker.job
        if self.over:
            return
        if job is None:
            self._count_false_start(worker, reason)
            return
        label, most = worker.label, self.options.max_restarts
        self.losses[label] += 1
        if self.losses[label] <= most:
            self.listener.note(label, f"{reason}: going on from the checkpoint ({self.losses[label]} of {most})")
            self.waiting.appendleft(replace(job, is_taken_up=True))
            return
        died = f"{reason} {self.losses[label]} times" if most else reason
        self.listener.ended(label, "failed", f"{died}; run the same command again to resume it")
        self.supply.ended(job, died)
        if self.options.fail_fast:
            self._end()

    def _count_false_start(self, worker: Worker, reason: str) -> None:
        if worker.is_ready:
            return
        self.false_starts += 1
        if self.false_starts >= MOST_FALSE_STARTS:
            self._end(UsageError(f"workers end before they begin: {reason}"))

    def _end(self, error: NnoptError | None = None) -> None:
        self.over, self.error = True, error
        self.waiting.clear()
        code = error.exit_code if isinstance(error, Interrupted) else 143
        for worker in self.workers:
            worker.ask_to_stop(code)
