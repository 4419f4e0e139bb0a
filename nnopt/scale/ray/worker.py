"""The Ray actor that trains: a thread at work, and methods by which the front end talks with it.

Nothing of torch is imported before the front end's environment is taken over.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import queue
import threading
import time
from typing import Any

from nnopt.errors import NnoptError
from nnopt.loading import while_loading
from nnopt.scale.agency import FREE, READY
from nnopt.scale.errand import Errand

SECONDS_TO_GATHER = 0.4  # words that nobody waits for


class Inbox:
    """The worker's end of its line: a queue of pickled jobs, and one of words."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.words: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def send(self, message: tuple[Any, ...]) -> None:
        """Says something to the front end."""
        self.words.put(message)

    def recv(self) -> Any:
        """The next job."""
        return pickle.loads(self.jobs.get())


class RayWorker:
    """Trains one job after the other in a thread of its own, so that it can be asked to stop meanwhile."""

    def __init__(self, errand: Errand, options: bytes, threads: int) -> None:
        self.errand = errand
        self.options = options
        self.threads = threads
        self.line = Inbox()
        self.stop: Any = None
        self.asked_to_stop: int | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def where(self) -> tuple[str, int]:
        """Host and process."""
        return platform.node(), os.getpid()

    def give(self, job: bytes) -> None:
        """A job to train."""
        self.line.jobs.put(job)

    def news(self, seconds: float) -> list[tuple[Any, ...]]:
        """What was said since the last call; waits so long at most for something.

        A call costs the machine a millisecond or two, so what follows shortly after a word goes along with it, unless
        somebody waits for that word.
        """
        found: list[tuple[Any, ...]] = []
        with contextlib.suppress(queue.Empty):
            found.append(self.line.words.get(timeout=seconds))
            end = time.monotonic() + SECONDS_TO_GATHER
            while found[-1][0] not in (READY, FREE):
                found.append(self.line.words.get(timeout=max(0.0, end - time.monotonic())))
        return found

    def halt(self, code: int) -> None:
        """The run in hand is to end at a checkpoint."""
        self.asked_to_stop = code
        if self.stop is not None:
            self.stop.code = self.stop.code or code

    def _work(self) -> None:
        try:
            self.errand.settle()
            os.environ["OMP_NUM_THREADS"] = str(self.threads)  # Ray's own number is that of CPUs it has set aside
            with while_loading():
                from nnopt.scale.worker import serve
                from nnopt.train.signals import StopRequest

            self.stop = StopRequest()
            self.stop.code = self.asked_to_stop
            self.line.send((READY,))
            serve(self.line, pickle.loads(self.options), self.stop)
        except NnoptError as error:
            self.line.send((FREE, "", (error.exit_code, str(error))))
        except BaseException as error:
            reason = f"{type(error).__name__}: {str(error).strip()}".split("\n")[0]
            self.line.send((FREE, "", (1, f"a worker on {platform.node()} broke down: {reason}")))
