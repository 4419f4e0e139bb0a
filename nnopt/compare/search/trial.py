"""One trial of a search: a setting, and how its runs ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["running", "done", "pruned", "diverged", "failed", "over"]


@dataclass(frozen=True)
class Trial:
    """A setting that was tried: dotted key -> value.

    `value` is the objective, the mean over the trial's seeds: None unless all of them are done. A trial is diverged,
    pruned or failed when one of its runs is. It is over where its network takes more than the limits of the search
    allow: it has no runs.
    """

    number: int
    setting: Mapping[str, Any]
    status: Status
    value: float | None = None
    values: Mapping[int, float] = field(default_factory=dict)  # by seed
    train_seconds: float = 0.0  # of all its runs, those cut short among them
    again: int | None = None  # the number of a failed trial whose setting this one tries again
    cost: float | None = None  # the second objective where there are two, the mean over seeds as `value` is
    sizes: Mapping[str, float] = field(default_factory=dict)  # what its network takes, as limits were held against it
    excess: float = 0.0  # of a trial that is over: 0.5 is half as much again as is allowed, of what is most beyond

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.status != "running"
