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

    On a CPU this is resident memory of the whole process, libraries included; Linux keeps the highest mark, elsewhere
    it is looked at each time `read` is called.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._highest = 0
        self._marked = False
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif device.type == "cpu":
            try:
                _CLEAR.write_text("5")  # sets the high-water mark back to what is resident now
                self._marked = True
            except OSError:
                pass

    def read(self) -> int:
        """Bytes at the highest point so far."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        if self._marked and (found := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())):
            return int(found[1]) * 1024
        self._highest = max(self._highest, int(psutil.Process().memory_info().rss))
        return self._highest
