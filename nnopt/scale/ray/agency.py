"""Workers on a Ray cluster, or on a Ray of this machine that lasts as long as the crew."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from nnopt.errors import NnoptError, UsageError
from nnopt.scale.agency import FREE, LOST, Agency, Words, Worker
from nnopt.scale.errand import Errand, Token
from nnopt.scale.needs import Needs
from nnopt.scale.ray.connection import begin
from nnopt.scale.supply import Job
from nnopt.store.lock import forget_holder
from nnopt.store.place import place
from nnopt.train.experiment import Options

SECONDS_OF_NEWS = 5.0  # that one call waits for words
SECONDS_FOR_ROOM = 60.0  # that a run waits for a machine which has room for it
SECONDS_TO_STOP = 60.0  # that runs have to checkpoint when the crew ends


class RayWorkerHandle(Worker):
    """An actor, and the call by which it is waited for."""

    is_ready = False

    def __init__(self, agency: RayAgency, errand: Errand) -> None:
        super().__init__()
        from nnopt.scale.ray.worker import RayWorker

        ray = agency.ray
        self.agency = agency
        self.errand = errand
        needs = agency.needs
        actor = ray.remote(RayWorker).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=needs.memory_bytes,
            max_concurrency=4,
            enable_task_events=False,  # of every call, for Ray's dashboard
        )
        self.actor = actor.remote(errand, agency.packed, needs.threads)
        self.host = ""
        self.where = self.actor.where.remote()
        self.news = self.actor.news.remote(SECONDS_OF_NEWS)
        self.why = ""

    def send(self, job: Job) -> None:
        """As the base class says."""
        self.actor.give.remote(pickle.dumps(job))

    def ask_to_stop(self, code: int) -> None:
        """As the base class says."""
        if self.is_ready:
            self.actor.halt.remote(code)
        else:
            self.agency.ray.kill(self.actor)

    def bury(self) -> str:
        """As the base class says."""
        with contextlib.suppress(Exception):
            self.agency.ray.kill(self.actor)  # one that only cannot be reached must not go on
        if self.job is not None:
            for run in self.job.runs:
                with contextlib.suppress(NnoptError, OSError):
                    forget_holder(place(run, self.agency.options.runs_dir).folder, self.errand.worker)
        return self.why


class RayAgency(Agency):
    """Starts actors, each on as much of a machine as a run takes."""

    def __init__(self, address: str, options: Options, wanted: int | None) -> None:
        self.options = replace(options, fresh=False)
        self.wanted = wanted
        self.connection = begin(address, wanted)
        self.needs = Needs()
        self.waits_since: float | None = None
        self.token: Token | None = None

    @property
    def ray(self) -> Any:
        """The library, once it is connected."""
        return self.connection.ray

    def open(self) -> None:
        """As the base class says."""
        if self.token is None:
            self.connection.wait()
            self.token = Token(self.options.runs_dir)

    def fit(self, needs: Needs) -> None:
        """Says what a run takes; before the first worker is hired."""
        self.open()
        nodes = self._nodes()
        has_gpus = any(node.get("GPU", 0) for node in nodes)
        self.needs = needs.on(has_gpus)
        if self.connection.address == "local" and self.wanted is not None:
            self.needs = replace(self.needs, cpus=1)  # as many at a time as were asked for
        self.packed = pickle.dumps(replace(self.options, most_threads=self.needs.threads))

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def room(self, wanted: int | None) -> int:
        """As the base class says."""
        needs = self.needs
        there = sum(needs.fit_into(node) for node in self._nodes())
        if there:
            self.waits_since = None
            return wanted or there
        now = time.monotonic()
        self.waits_since = self.waits_since or now
        if wanted is None or now - self.waits_since > SECONDS_FOR_ROOM:
            raise UsageError(f"no machine of the Ray cluster has room for a run, which takes {needs.in_words()}")
        return wanted

    def hire(self) -> Worker:
        """As the base class says."""
        assert self.token is not None
        return RayWorkerHandle(self, Errand.of(self.token))

    def listen(self, workers: Sequence[Worker], seconds: float) -> Iterator[tuple[Worker, Words]]:
        """As the base class says."""
        ray = self.ray
        hired = cast(Sequence[RayWorkerHandle], workers)
        by_call = {worker.news: worker for worker in hired}
        if not by_call:
            return
        ready, _ = ray.wait(list(by_call), num_returns=1, timeout=seconds, fetch_local=False)
        if ready:
            ready, _ = ray.wait(list(by_call), num_returns=len(by_call), timeout=0, fetch_local=False)
        for call in ready:
            worker = by_call[call]
            try:
                words = ray.get(call)
                if not worker.host:
                    worker.host = ray.get(worker.where)[0]
                worker.news = worker.actor.news.remote(SECONDS_OF_NEWS)
            except ray.exceptions.RayError as error:
                worker.why = self._reason(worker, error)
                yield worker, (LOST,)
                continue
            yield from ((worker, said) for said in words)

    def _reason(self, worker: RayWorkerHandle, error: BaseException) -> str:
        if worker.host:
            return f"its worker on {worker.host} was lost"
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"Ray cannot start a worker ({lines[-1] if lines else type(error).__name__})"

    def dismiss(self, workers: Sequence[Worker]) -> None:
        """As the base class says."""
        hired: list[Worker] = [worker for worker in workers if worker.job is not None]
        for worker in hired:
            worker.ask_to_stop(143)
        end = time.monotonic() + SECONDS_TO_STOP
        while hired and time.monotonic() < end:
            for worker, (name, *_) in list(self.listen(hired, 1.0)):
                if name in (FREE, LOST) and worker in hired:
                    hired.remove(worker)
        for worker in cast(Sequence[RayWorkerHandle], workers):
            self.ray.kill(worker.actor)

    def close(self) -> None:
        """As the base class says."""
        if self.token is not None:
            self.token.remove()
        self.connection.end()
