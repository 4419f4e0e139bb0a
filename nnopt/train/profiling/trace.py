"""Steps under torch.profiler: a trace for Perfetto, and what the operators took."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile, record_function, supported_activities

from nnopt.quiet import quiet
from nnopt.stages import PARTS, watched_by

WARM_UP = 2  # steps in which the profiler itself gets going


class Ranges:
    """Has the stages of a step appear in a trace as ranges with their names."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._open: list[Any] = []

    def enter(self, name: str) -> None:
        """As Watch says."""
        if threading.get_ident() == self._thread:
            self._open.append(record_function(range_name(name)))
            self._open[-1].__enter__()

    def leave(self) -> None:
        """As Watch says."""
        if threading.get_ident() == self._thread:
            self._open.pop().__exit__(None, None, None)


def range_name(name: str) -> str:
    """What a stage is called in a trace, and a part of one: `forward`, `data: gathering`."""
    return f"{PARTS[name]}: {name}" if name in PARTS else name


def traced(step: Callable[[], None], count: int, device: torch.device) -> tuple[bytes, list[dict[str, Any]]]:
    """Carries out `count` steps after a few to warm up: the trace as JSON, and rows of profile_operators.csv."""
    _profiled(step, WARM_UP, device)
    found = _profiled(step, count, device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        return path.read_bytes(), _operators(found, count)


def _activities() -> list[ProfilerActivity]:
    return list(supported_activities())  # type: ignore[no-untyped-call]


def _profiled(step: Callable[[], None], count: int, device: torch.device) -> profile:
    found = profile(activities=_activities(), acc_events=True)
    with quiet((), {"KINETO_LOG_LEVEL": "6"}), found, watched_by(Ranges()):  # it tells stderr when it starts
        for _ in range(count):
            with record_function("step"):
                step()
        if device.type != "cpu":
            with record_function(range_name("synchronisation")):
                torch.accelerator.synchronize(device)
    return found


def _operators(found: profile, steps: int) -> list[dict[str, Any]]:
    """An operator's own milliseconds and calls in a step, the longest first; kernels count for what asked for them."""
    own = [one for one in found.key_averages() if _is_operator(one)]
    cpu, device = sum(one.self_cpu_time_total for one in own), sum(one.self_device_time_total for one in own)
    rows = [
        {
            "operator": one.key,
            "calls": one.count / steps,
            "cpu_self_ms": one.self_cpu_time_total / steps / 1000,
            "cpu_share": one.self_cpu_time_total / cpu if cpu else 0.0,
            "device_self_ms": one.self_device_time_total / steps / 1000 if device else None,
            "device_share": one.self_device_time_total / device if device else None,
        }
        for one in own
    ]
    return sorted(rows, key=lambda row: (row["device_self_ms"] or 0.0, row["cpu_self_ms"]), reverse=True)


def _is_operator(one: FunctionEventAvg) -> bool:
    """Whether it is something that the process did, and none of our ranges."""
    return not one.is_user_annotation and one.device_type.name == "CPU"
