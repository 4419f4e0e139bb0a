"""Peak memory of a run."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Bytes at the highest point since this was made: the allocator's on an accelerator, else the process's own.

    On a CPU this is resident memory of the whole process, libraries included; Linux keeps the highest mark. Where
    nobody does (other systems, Apple's GPUs) it is looked at each time `read` is called.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._highest = 0
        self._marked = False
        if device.type == "cpu":
            try:
                _CLEAR.write_text("5")  # sets the high-water mark back to what is resident now
                self._marked = True
            except OSError:
                pass
        else:
            self._marked = _marks(device)

    def read(self) -> int:
        """Bytes at the highest point so far."""
        if self.device.type != "cpu":
            now = torch.accelerator.max_memory_allocated(self.device) if self._marked else _allocated(self.device)
        elif self._marked and (found := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())):
            return int(found[1]) * 1024
        else:
            now = int(psutil.Process().memory_info().rss)
        self._highest = max(self._highest, now)
        return self._highest


def _marks(device: torch.device) -> bool:
    """Sets the highest mark of a device's allocator back to now; False where it keeps none."""
    try:
        torch.accelerator.reset_peak_memory_stats(device)
        torch.accelerator.max_memory_allocated(device)
    except RuntimeError:
        return False
    return True


def _allocated(device: torch.device) -> int:
    """Bytes that tensors take on a device now, 0 where torch does not tell."""
    module = torch.get_device_module(device.type)
    ask = getattr(module, "current_allocated_memory", None) or getattr(module, "memory_allocated", None)
    return 0 if ask is None else int(ask())
