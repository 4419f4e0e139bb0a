"""Processes of this machine that begin as copies of one that has imported everything: a start is waited for once."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from nnopt.surroundings import QUIET_THREADS, Surroundings
from nnopt.train.signals import no_interrupts

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

ORIGIN = "nnopt.scale.origin"
QUIET_LOG = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # also read as torch loads; warnings of its rendezvous help no user


def context() -> ForkServerContext | SpawnContext:
    """How to start a process; where there is no such copying (Windows), it imports for itself."""
    for name, value in {**QUIET_THREADS, **QUIET_LOG}.items():
        os.environ.setdefault(name, value)
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([ORIGIN])
    return found


def begin_importing() -> None:
    """Starts the process that others will be copies of before they are asked for: it imports while this one does."""
    from multiprocessing import forkserver

    if context().get_start_method() == "forkserver":
        with no_interrupts():
            forkserver.ensure_running()


def become(surroundings: Surroundings) -> None:
    """Gives a copy the whole surroundings of the process that asked for it."""
    os.environ.clear()
    surroundings.take()
