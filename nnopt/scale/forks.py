"""Processes of this machine that begin as copies of one that has imported everything: a start is waited for once."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from nnopt.surroundings import QUIET_THREADS, Surroundings

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

WORKER = "nnopt.scale.worker"  # with all that a run needs


def context() -> ForkServerContext | SpawnContext:
    """How to start a process; where there is no such copying (Windows), it imports for itself."""
    for name, value in QUIET_THREADS.items():
        os.environ.setdefault(name, value)
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([WORKER])
    return found


def become(surroundings: Surroundings) -> None:
    """Gives a copy the whole surroundings of the process that asked for it."""
    os.environ.clear()
    surroundings.take()
