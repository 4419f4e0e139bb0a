"""How the kernel divides the cores between the threads that compute and those that exchange."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def beginning_threads_that_do_not_preempt() -> Iterator[None]:
    """Threads begun in the block never take the core of the thread that wakes them; they get the next that is free.

    For gloo: one of its threads sends while it holds a lock. What it sends can wake the thread that receives, on the
    same core and in its place; that one finds the lock taken and asks for it again and again, without a pause, until
    the kernel's next tick (4 ms on many systems) lets the sender finish. Under SCHED_BATCH (`man 7 sched`; no
    privilege is needed) a woken thread waits instead. tests/benchmarks/results/PARALLEL.md has what that brings. A
    process that runs under a policy chosen outside keeps it, and systems other than Linux are left as they are.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    with contextlib.suppress(OSError):  # a container may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
