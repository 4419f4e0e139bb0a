"""How much memory there is to take."""

from __future__ import annotations

from pathlib import Path

import psutil

# Limit and use of this process's control group, version 2 and 1 of Linux: a container often has less than the machine.
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int:
    """Bytes of main memory that can be taken without swapping: the machine's, or what a container may still take."""
    free = [int(psutil.virtual_memory().available)]
    for limit, used in CGROUPS:
        most, taken = _read(Path(limit)), _read(Path(used))
        if most is not None and taken is not None:
            free.append(most - taken)
    return max(0, min(free))


def resident_memory() -> int:
    """Bytes of main memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def _read(path: Path) -> int | None:
    """The number in a file; None where there is none (`max`: no limit)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
