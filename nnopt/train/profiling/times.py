"""Times of the stages of a step, on the clock of the process and on that of an accelerator."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from nnopt.stages import PARTS, STAGES, stage, watched_by

OTHER = "other"


class Event(Protocol):
    """A point in the work of an accelerator, as torch.Event."""

    def record(self) -> None:
        """Puts it behind all that was asked for so far."""
        ...

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this one to `end_event`, both passed."""
        ...


def events_of(device: torch.device) -> Callable[[], Event] | None:
    """What makes timed events of an accelerator; None on a CPU, and where its kind has none."""
    if device.type == "cpu":
        return None

    def event() -> Event:
        return torch.Event(device, enable_timing=True)

    try:
        first, second = event(), event()
        first.record()
        second.record()
        torch.accelerator.synchronize(device)
        first.elapsed_time(second)
    except (RuntimeError, TypeError, ValueError):
        return None
    return event


class StageTimes:
    """Milliseconds of each stage in each step: every moment belongs to the innermost stage that is open.

    On an accelerator Python only asks for the work. Events between the stages tell when it was done; nothing waits for
    them until the last step is over. Where there are no such events, each step waits for the device at its end, which
    is counted as synchronisation. Marks of other threads are not heard.

    Attributes:
        host: a step's milliseconds by stage or part, on the clock of this process.
        on_device: the same on the device's clock; empty where there is none.
        calls: how often a stage or part began in all steps.
        waited_ms: for the device after the last step.
    """

    def __init__(self, device: torch.device, event: Callable[[], Event] | None = None) -> None:
        self.device = device
        self.event = event
        self.host: list[dict[str, float]] = []
        self.on_device: list[dict[str, float]] = []
        self.calls: dict[str, int] = {}
        self.waited_ms = 0.0
        self._thread = threading.get_ident()
        self._open: list[str] = []
        self._since = 0.0
        self._borders: list[list[tuple[str, Event]]] = []  # of each step: a stage, and the event that it began with

    def enter(self, name: str) -> None:
        """As Watch says."""
        if threading.get_ident() == self._thread and self._open:
            self.calls[name] = self.calls.get(name, 0) + 1
            self._cut()
            self._open.append(name)
            self._note()

    def leave(self) -> None:
        """As Watch says."""
        if threading.get_ident() == self._thread and len(self._open) > 1:
            self._cut()
            self._open.pop()
            self._note()

    @contextmanager
    def step(self) -> Iterator[None]:
        """The block is one step."""
        with watched_by(self):
            self.host.append({})
            self._borders.append([])
            self._open = [OTHER]
            self._since = time.perf_counter()
            self._note()
            try:
                yield
                if self.device.type != "cpu" and self.event is None:
                    with stage("synchronisation"):
                        torch.accelerator.synchronize(self.device)
            finally:
                self._cut()
                self._open = [OTHER]
                self._note()
                self._open = []

    def move(self, place: int, source: str, target: str, milliseconds: float) -> None:
        """Of the step at `place`, so much of the process's time in one stage belongs to another."""
        step = self.host[place]
        moved = min(milliseconds, step.get(source, 0.0))
        if moved > 0:
            step[source] -= moved
            step[target] = step.get(target, 0.0) + moved
            self.calls[target] = self.calls.get(target, 0) + 1

    def end(self) -> None:
        """Waits for what was asked of an accelerator, and reads the events."""
        if self.event is None:
            return
        start = time.perf_counter()
        torch.accelerator.synchronize(self.device)
        self.waited_ms = 1000 * (time.perf_counter() - start)
        for borders in self._borders:
            step: dict[str, float] = {}
            for (name, begun), (_, ended) in itertools.pairwise(borders):
                step[name] = step.get(name, 0.0) + begun.elapsed_time(ended)
            self.on_device.append(step)

    def _cut(self) -> None:
        now = time.perf_counter()
        step, name = self.host[-1], self._open[-1]
        step[name] = step.get(name, 0.0) + 1000 * (now - self._since)
        self._since = now

    def _note(self) -> None:
        if self.event is not None:
            event = self.event()
            event.record()
            self._borders[-1].append((self._open[-1], event))


def stage_rows(times: StageTimes) -> list[dict[str, Any]]:
    """Rows of profile.csv: those without `part_of` add up to the step."""
    host, told = _stages(times.host), _stages(times.on_device or times.host)
    steps = len(host)
    whole = sum(step[name] for step in told for name in STAGES)
    rows = []
    for name in STAGES:
        calls = steps if name == OTHER else times.calls.get(name, 0)
        rows.append(_row(name, None, calls, [step[name] for step in told], [step[name] for step in host], whole))
        for part in (part for part, of in PARTS.items() if of == name and times.calls.get(part)):
            values, hosts = ([step.get(part, 0.0) for step in kept] for kept in (told, host))
            rows.append(_row(part, name, times.calls[part], values, hosts, whole))
    if times.on_device:
        rows_by_name = {row["stage"]: row for row in rows}
        rows_by_name["synchronisation"]["host_ms"] += times.waited_ms / steps
    return rows


def step_statistics(times: StageTimes) -> dict[str, float]:
    """Milliseconds of a whole step: mean, median, 95th percentile."""
    whole = [sum(step.values()) for step in times.on_device or times.host]
    return {"mean": statistics.fmean(whole), "median": statistics.median(whole), "p95": percentile(whole, 0.95)}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, linear between two of them."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _stages(steps: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """With what belongs to its parts in every stage."""
    whole = []
    for step in steps:
        parts = {name: sum(step.get(part, 0.0) for part, of in PARTS.items() if of == name) for name in STAGES}
        whole.append({**step, **{name: step.get(name, 0.0) + parts[name] for name in STAGES}})
    return whole


def _row(
    name: str, part_of: str | None, calls: int, values: list[float], host: list[float], whole: float
) -> dict[str, Any]:
    return {
        "stage": name,
        "part_of": part_of,
        "calls": calls / len(values),
        "mean_ms": statistics.fmean(values),
        "median_ms": statistics.median(values),
        "p95_ms": percentile(values, 0.95),
        "share": sum(values) / whole if whole > 0 else 0.0,
        "host_ms": statistics.fmean(host),
    }
