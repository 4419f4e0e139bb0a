"""What training tells whoever watches it; training itself knows nothing of terminals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Moment:
    """How a run is doing between evaluations. Plain numbers: it crosses process borders."""

    step: int
    share: float  # of the budget, 0 to 1
    loss: float
    lr: float
    samples_per_second: float


class Listener:
    """Hears of the runs of a plan; this one keeps silent. `label` is experiment/variant[/trial-n]/seed-k."""

    def skipped(self, label: str, status: str) -> None:
        """The run was finished before, and is left as it is."""

    def started(self, label: str, from_step: int) -> None:
        """The run begins, or (from_step > 0) goes on."""

    def moment(self, label: str, moment: Moment) -> None:
        """Some updates were done."""

    def row(self, label: str, row: dict[str, Any]) -> None:
        """An evaluation was written to metrics.csv."""

    def note(self, label: str, text: str) -> None:
        """Something a user should know: a damaged checkpoint, a warning."""

    def ended(self, label: str, status: str, reason: str) -> None:
        """The run is over: done, diverged, pruned, failed or interrupted."""

    def trial(self, label: str, text: str) -> None:
        """A trial (experiment/variant/trial-n) is over, all its runs with it; `text` says how the search stands."""
