"""Progress on stderr: rich bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nnopt.train.listener import Listener, Moment

if TYPE_CHECKING:
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0


def watcher(total: int, quiet: bool) -> Watcher:
    """What shows the progress of `total` runs."""
    if quiet:
        return Watcher()
    return Bars(total) if sys.stderr.isatty() else Lines(total)


class Watcher(Listener, AbstractContextManager["Watcher"]):
    """A listener that is open while training lasts; this one is silent but for notes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close here."""

    def note(self, label: str, text: str) -> None:
        """As the base class says."""
        print(f"{label}: {text}", file=sys.stderr, flush=True)

    def ended(self, label: str, status: str, reason: str) -> None:
        """As the base class says; what went wrong is said even where progress is not."""
        if status in ("failed", "diverged"):
            print(f"{label}: {status}{_why(status, reason)}", file=sys.stderr, flush=True)


class Lines(Watcher):
    """A line when a run starts, every ten seconds, and when it ends."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.count = 0
        self.begun: dict[str, float] = {}
        self.spoken: dict[str, float] = {}

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def skipped(self, label: str, status: str) -> None:
        """As the base class says."""
        self.count += 1
        self._say(f"[{self.count}/{self.total}] {label}: {_was(status)}")

    def started(self, label: str, from_step: int) -> None:
        """As the base class says."""
        self.begun[label] = self.spoken[label] = time.monotonic()
        if from_step:
            self._say(f"{label}: goes on from step {from_step}")

    def moment(self, label: str, moment: Moment) -> None:
        """As the base class says."""
        now = time.monotonic()
        if now - self.spoken.get(label, now) >= SECONDS_BETWEEN_LINES:
            self.spoken[label] = now
            left = (
                f", {_duration((1 - moment.share) * (now - self.begun[label]) / moment.share)} left"
                if moment.share
                else ""
            )
            self._say(f"{label}: {moment.share:.0%} of the budget, {_numbers(moment)}{left}")

    def ended(self, label: str, status: str, reason: str) -> None:
        """As the base class says."""
        self.count += 1
        spent = _duration(time.monotonic() - self.begun.get(label, time.monotonic()))
        self._say(f"[{self.count}/{self.total}] {label}: {status}{_why(status, reason)} in {spent}")


class Bars(Watcher):
    """One bar for the experiment and one for each run in hand."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.table import Column

        numbers = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # what gives way in a narrow window
        self.bars = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=14),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(min_width=4)),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            TimeRemainingColumn(compact=True, table_column=Column(min_width=5)),
            TextColumn("[dim]{task.fields[numbers]}", table_column=numbers),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self.whole = self.bars.add_task(f"[bold]{total} runs", total=total, numbers="")
        self.runs: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clears the bars away."""
        self.bars.stop()

    def _print(self, text: str) -> None:
        self.bars.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def skipped(self, label: str, status: str) -> None:
        """As the base class says."""
        self.bars.advance(self.whole)
        self._print(f"{label}: {_was(status)}")

    def started(self, label: str, from_step: int) -> None:
        """As the base class says."""
        if from_step:
            self._print(f"{label}: goes on from step {from_step}")
        self.runs[label] = self.bars.add_task(label.partition("/")[2], total=1.0, numbers="")

    def moment(self, label: str, moment: Moment) -> None:
        """As the base class says."""
        if label in self.runs:
            self.bars.update(self.runs[label], completed=moment.share, numbers=_numbers(moment))

    def note(self, label: str, text: str) -> None:
        """As the base class says."""
        self._print(f"{label}: {text}")

    def ended(self, label: str, status: str, reason: str) -> None:
        """As the base class says."""
        self.bars.advance(self.whole)
        if label in self.runs:
            self.bars.remove_task(self.runs.pop(label))
        if status != "done" or reason.startswith("stopped"):
            self._print(f"{label}: {status}{_why(status, reason)}")


def _numbers(moment: Moment) -> str:
    loss = "" if math.isnan(moment.loss) else f"loss {moment.loss:.4g}, "
    return f"{loss}lr {moment.lr:.3g}, {_thousands(moment.samples_per_second)} samples/s"


def _thousands(value: float) -> str:
    return f"{value / 1000:,.0f}k" if value >= 10_000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _was(status: str) -> str:
    return "done before, skipped" if status == "done" else f"{status} before, skipped"


def _why(status: str, reason: Any) -> str:
    return f" ({reason})" if reason and (status != "done" or str(reason).startswith("stopped")) else ""
