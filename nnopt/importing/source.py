"""A run as another tool has it, before it has our names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

Plain = bool | int | float | str

DONE = "done"


@dataclass
class SourceRun:
    """One run of a source: curves under their own names, each a mapping of step to value.

    `name` is what the source calls it (a folder below the source, a name of MLflow), `id` tells it from the
    source's other runs. `seconds` is the wall time since the run's first event, by step; empty without a clock.
    `hyperparameters` have dotted keys.
    """

    name: str
    id: str
    experiment: str | None = None
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    hyperparameters: dict[str, Plain] = field(default_factory=dict)
    status: str = DONE
    reason: str = ""
    tags: tuple[str, ...] = ()
    text: str = ""  # the user's notes on it
    repeated: int = 0  # values that came again at a step: the last one counts
    notes: list[str] = field(default_factory=list)  # what was wrong with it

    def add(self, name: str, step: int, value: float) -> None:
        """Takes in a value; one at a step that is there already replaces it."""
        curve = self.curves.setdefault(name, {})
        if step in curve:
            self.repeated += 1
        curve[step] = value

    def set_times(self, walls: Iterable[tuple[int, float]], first: float) -> None:
        """Notes when (in seconds since the epoch) each step was seen; a clock set back stands still meanwhile."""
        for step, wall in walls:
            self.seconds[step] = max(self.seconds.get(step, 0.0), wall - first)


def as_number(text: str) -> float | None:
    """A cell as a number: NaN for an empty one and for words that mean a missing value; None for other text."""
    word = text.strip()
    if word.lower() in ("", "nan", "na", "n/a", "null", "none", "-"):
        return math.nan
    try:
        return float(word)
    except ValueError:
        return None
