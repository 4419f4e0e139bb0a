"""Early stopping: whether a metric still improves."""

from __future__ import annotations

import math
from typing import Any

from nnopt.spec.metric_names import higher_is_better
from nnopt.spec.strategy import EarlyStopping


class Stopping:
    """Counts evaluations without improvement of a metric by more than `min_delta`."""

    def __init__(self, spec: EarlyStopping) -> None:
        self.spec = spec
        self.sign = 1.0 if higher_is_better(spec.metric) else -1.0
        self.best: float | None = None
        self.waited = 0

    @property
    def reached(self) -> bool:
        """Whether the patience is used up."""
        return self.waited >= self.spec.patience

    @property
    def reason(self) -> str:
        """Why the run ended, in words."""
        return f"stopped early: {self.spec.metric} did not improve for {self.waited} evaluations"

    def update(self, value: float) -> None:
        """Takes in the metric's value at an evaluation; NaN is no improvement."""
        score = self.sign * value
        least = -math.inf if self.best is None else self.best + self.spec.min_delta
        if score > least:
            self.best, self.waited = score, 0
        else:
            self.waited += 1

    def state_dict(self) -> dict[str, Any]:
        """Best score and the count."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.best, self.waited = state["best"], int(state["waited"])
