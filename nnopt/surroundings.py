"""What a process finds: its share of the machine, and what one that works for another has to take over from it.

With another's working directory and environment, relative paths and settings mean the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

OURS = "NNOPT_"  # how the environment variables begin that nnopt reads
# What is read as torch loads: threads that wait should sleep, not spin on a core that another run could use.
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
# What torchrun, and whatever else starts several processes for torch.distributed, tells each of them.
OUTER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_started_by_torchrun() -> bool:
    """Whether something outside started this process as one of several."""
    size = os.environ.get("WORLD_SIZE", "")
    return all(name in os.environ for name in OUTER) and size.isdecimal() and int(size) > 1


@dataclass(frozen=True)
class Surroundings:
    """Working directory and environment variables of a process, as plain values that travel to another."""

    folder: str
    variables: tuple[tuple[str, str], ...]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process, of the variables nnopt's own alone."""
        own = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
        return cls(os.getcwd(), tuple(own.items()))

    @classmethod
    def whole(cls) -> Surroundings:
        """Those of this process, for another on the same machine."""
        return cls(os.getcwd(), tuple(os.environ.items()))

    def take(self) -> None:
        """Makes them those of this process.

        Raises:
            OSError: the folder is not on this machine; the variables are taken all the same.
        """
        os.environ.update(self.variables)
        os.chdir(self.folder)
