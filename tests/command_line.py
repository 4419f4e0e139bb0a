"""What tests through the command line share: a small spec, and how a command ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PATIENCE = 600.0  # seconds that a test waits for what has to come: a machine with other work may be slow

# Trains in hundredths of a second: 1222 training images of 8x8 pixels, 20 steps an epoch.
SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [16]},
    "loss": {"kind": "cross_entropy"},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "strategy": {"batch_size": 64},
    "budget": {"epochs": 2},
    "seeds": 1,
}


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The lines of stderr."""
        return self.stderr.splitlines()
