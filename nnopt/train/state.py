"""Everything that changes while a run trains, in one place: this and nothing else is a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from nnopt.data.batches import Position
from nnopt.optim.optimizer import Optimizer
from nnopt.schedules import Plateau
from nnopt.structure.network import load_weights
from nnopt.train.averaging import Average
from nnopt.train.clock import Clock
from nnopt.train.scaling import LossScaler
from nnopt.train.shaping.shaping import Shaping
from nnopt.train.stopping import Stopping

Row = dict[str, float | int | None]


@dataclass
class Means:
    """Sums since the last row of metrics.csv, added in the order of the steps (so that bits do not depend on when)."""

    loss_sum: float = 0.0
    losses: int = 0
    norm_sum: float = 0.0
    norms: int = 0
    train_seconds: float = 0.0  # at the last row
    samples: int = 0

    @property
    def loss(self) -> float | None:
        """Mean loss, None before the first step."""
        return self.loss_sum / self.losses if self.losses else None

    @property
    def norm(self) -> float | None:
        """Mean gradient norm of the logged steps."""
        return self.norm_sum / self.norms if self.norms else None


@dataclass
class Progress:
    """What a run has reached: counts, bests, the target."""

    step: int = 0
    samples: int = 0
    gradient_evaluations: int = 0
    last_loss: float | None = None
    memory_peak_bytes: int = 0
    last_row: Row | None = None
    bests: dict[str, dict[str, float | int]] = field(default_factory=dict)  # column -> {value, step}
    target: Row | None = None  # where it was reached
    final_step: int = 0  # of the last change of the network
    traffic: dict[str, float] = field(default_factory=dict)  # of processes that update at once: nnopt.train.traffic
    extremes: dict[str, list[float]] = field(default_factory=dict)  # what -> at first, largest so far
    diagnosis: dict[str, str] = field(default_factory=dict)  # kind -> what was said

    def note_largest(self, what: str, value: float) -> None:
        """Keeps the first of the values of what is watched, and the largest."""
        first, largest = self.extremes.get(what, (value, value))
        self.extremes[what] = [first, max(largest, value)]


@dataclass
class TrainState:
    """The mutable half of a run. All other things it is trained with are settings."""

    model: nn.Module
    optimizer: Optimizer
    device: torch.device
    clock: Clock
    average: Average | None = None
    scaler: LossScaler | None = None
    plateau: Plateau | None = None
    stopping: Stopping | None = None
    shaping: Shaping | None = None
    delivered: nn.Module | None = None  # what comes out where that is not the model that trains: a quantised one
    position: Position = field(default_factory=Position)
    means: Means = field(default_factory=Means)
    progress: Progress = field(default_factory=Progress)
    origin: dict[str, Any] | None = None  # what it began with, where that were trained weights: as in summary.json

    def state_dict(self) -> dict[str, Any]:
        """The state as tensors, numbers, texts, lists and dicts."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            **{name: part.state_dict() for name, part in self._parts().items()},
            "position": asdict(self.position),
            "means": asdict(self.means),
            "progress": asdict(self.progress),
            "seconds": dict(self.clock.seconds),
            "energy": self.clock.meter.state_dict(),
            "generators": generator_states(self.device),
            **({} if self.origin is None else {"origin": self.origin}),
        }

    def load_state_dict(self, state: dict[str, Any], put: Callable[[dict[str, Any]], bool] | None = None) -> None:
        """Takes back what `state_dict` gave; `put` may give the model its weights, and says whether it did."""
        if self.shaping is not None:
            self.shaping.load_state_dict(state["shaping"])
        if put is None or not put(state["model"]):
            load_weights(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, part in self._parts().items():
            if name != "shaping":
                part.load_state_dict(state[name])
        self.position = Position(**state["position"])
        self.means = Means(**state["means"])
        self.progress = Progress(**state["progress"])
        self.clock.seconds.update(state["seconds"])
        self.clock.meter.load_state_dict(state.get("energy"))
        set_generator_states(state["generators"], self.device)
        self.origin = state.get("origin")
        if self.shaping is not None:
            self.shaping.restored()

    def _parts(self) -> dict[str, Any]:
        parts = {
            "average": self.average,
            "scaler": self.scaler,
            "plateau": self.plateau,
            "stopping": self.stopping,
            "shaping": self.shaping,
        }
        return {name: part for name, part in parts.items() if part is not None}


def generator_states(device: torch.device) -> dict[str, torch.Tensor]:
    """States of torch's default generators, which draw what takes no generator of its own (dropout)."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device.type).get_rng_state(device)
    return states


def set_generator_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Sets what `generator_states` gave; a device that was not there then keeps its own."""
    torch.set_rng_state(states["cpu"])
    if device.type in states and device.type != "cpu":
        torch.get_device_module(device.type).set_rng_state(states[device.type], device)
