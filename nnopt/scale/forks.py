"""Processes of this machine that begin as copies of one that has imported everything: a start is waited for once."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

WORKER = "nnopt.scale.worker"  # with all that a run needs


def context() -> ForkServerContext | SpawnContext:
    """How to start a process; where there is no such copying (Windows), it imports for itself."""
    # Threads that wait for work should sleep, not spin on a core that another run could use; read as torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([WORKER])
    return found


@dataclass(frozen=True)
class Surroundings:
    """What a copy does not have from the process that asks for it."""

    environment: dict[str, str]
    folder: Path

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process."""
        return cls(dict(os.environ), Path.cwd())

    def take(self) -> None:
        """Makes them those of this process."""
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
