"""How old the weights were that updates were computed from, counted over a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nnopt.train.engine import Traffic


@dataclass
class Staleness:
    """Of the updates since it was last asked for."""

    total: int = 0
    largest: int = 0
    updates: int = 0

    def add(self, staleness: int) -> None:
        """Notes an update before which so many others were made since its weights were read."""
        self.total += staleness
        self.largest = max(self.largest, staleness)
        self.updates += 1

    def take(self) -> Traffic:
        """The mean and the largest; then it counts anew."""
        found = Traffic(self.total / self.updates if self.updates else 0.0, float(self.largest))
        self.total = self.largest = self.updates = 0
        return found

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.total, self.largest, self.updates = (int(state[name]) for name in ("total", "largest", "updates"))
