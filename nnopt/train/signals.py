"""Ctrl-C and SIGTERM: the run in hand is checkpointed first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

from nnopt.errors import Interrupted


class StopRequest:
    """Set by the first signal; loops look at `code` (130 or 143) once an update."""

    code: int | None = None

    def raise_if_set(self) -> None:
        """Raises Interrupted once a signal has come."""
        if self.code is not None:
            raise Interrupted(self.code)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catches SIGINT and SIGTERM while the block lasts; a second one ends the program at once."""
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.code is not None:
            raise SystemExit(128 + number)
        request.code = 128 + number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def no_interrupts() -> Iterator[None]:
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
