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


def watcher(total: int, quiet: bool, what: str = "runs") -> Watcher:
    """What shows the progress of `total` "runs", or of a sweep with so many "trials" (and runs of its winners)."""
    if quiet:
        return Watcher()
    return Bars(total, what) if sys.stderr.isatty() else Lines(total)


class Watcher(Listener, AbstractContextManager["Watcher"]):
    """A listener that is open while training lasts; this one is silent but for notes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close here."""

    def more(self, count: int) -> None:
        """So many trials, or runs of no trial, come on top of those announced."""

    def note(self, label: str, text: str) -> None:
        """As the base class says."""
        print(f"{label}: {text}", file=sys.stderr, flush=True)

    def ended(self, label: str, status: str, reason: str) -> None:
        """As the base class says; what went wrong is said even where progress is not."""
        if _is_bad(label, status):
            print(f"{label}: {status}{_why(status, reason)}", file=sys.stderr, flush=True)


class Lines(Watcher):
    """A line when a run is resumed, every ten seconds, and when it ends; of a search's trials, one a trial."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.count = 0
        self.begun: dict[str, float] = {}
        self.spoken: dict[str, float] = {}

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _count(self, text: str) -> None:
        self.count += 1
        self._say(f"[{self.count}/{self.total}] {text}")

    def more(self, count: int) -> None:
        """As the base class says."""
        self.total += count

    def skipped(self, label: str, status: str) -> None:
        """As the base class says."""
        if not _is_of_trial(label):
            self._count(f"{label}: {_was(status)}")

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
        if _is_of_trial(label):
            super().ended(label, status, reason)
            return
        now = time.monotonic()
        spent = _duration(now - self.begun.get(label, now))
        self._count(f"{label}: {status}{_why(status, reason)} in {spent}")

    def trial(self, label: str, text: str) -> None:
        """As the base class says."""
        self._count(f"{label}: {text}")


class Bars(Watcher):
    """One bar for the whole and one for each run in hand.

    A bar whose run has ended waits for the next run, and names are padded to the longest so far: with runs of a few
    tenths of a second, lines that come and go would flicker.
    """

    def __init__(self, total: int, what: str = "runs") -> None:
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
        self.what, self.total, self.count = what, total, 0
        self.whole = self.bars.add_task("", total=total, numbers="")
        self.runs: dict[str, TaskID] = {}
        self.free: list[TaskID] = []
        self.width = 0
        self._count(0)

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

    def _count(self, ended: int) -> None:
        """Shows that so many more are over: trials, and runs that are of none."""
        self.count += ended
        name = f"sweep, {self.count} of {self.total}" if self.what == "trials" else f"{self.total} {self.what}"
        self.bars.update(self.whole, completed=self.count, total=self.total, description=f"[bold]{name}")

    def more(self, count: int) -> None:
        """As the base class says."""
        self.total += count
        self._count(0)

    def skipped(self, label: str, status: str) -> None:
        """As the base class says."""
        if not _is_of_trial(label):
            self._count(1)
            self._print(f"{label}: {_was(status)}")

    def started(self, label: str, from_step: int) -> None:
        """As the base class says."""
        if from_step:
            self._print(f"{label}: goes on from step {from_step}")
        name = label.partition("/")[2]
        self.width = max(self.width, len(name))
        if self.free:
            task = self.free.pop(0)
            self.bars.reset(task, completed=0, description=name.ljust(self.width), numbers="")
        else:
            task = self.bars.add_task(name.ljust(self.width), total=1.0, numbers="")
        self.runs[label] = task

    def moment(self, label: str, moment: Moment) -> None:
        """As the base class says."""
        if label in self.runs:
            self.bars.update(self.runs[label], completed=moment.share, numbers=_numbers(moment))

    def note(self, label: str, text: str) -> None:
        """As the base class says."""
        self._print(f"{label}: {text}")

    def ended(self, label: str, status: str, reason: str) -> None:
        """As the base class says."""
        if not _is_of_trial(label):
            self._count(1)
        if label in self.runs:
            task = self.runs.pop(label)
            self.bars.update(task, completed=1.0)
            self.free.append(task)
        if _is_bad(label, status) if _is_of_trial(label) else status != "done" or reason.startswith("stopped"):
            self._print(f"{label}: {status}{_why(status, reason)}")

    def trial(self, label: str, text: str) -> None:
        """As the base class says."""
        self._count(1)
        self.bars.update(self.whole, numbers=f"{label.split('/')[1]}: {text}")


def _is_of_trial(label: str) -> bool:
    """Whether a run is one of a search's trials: experiment/variant/trial-n/seed-k."""
    return label.count("/") == 3


def _is_bad(label: str, status: str) -> bool:
    """Whether a run's end is told of in any case; settings of a search may well diverge."""
    return status == "failed" or (status == "diverged" and not _is_of_trial(label))


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
