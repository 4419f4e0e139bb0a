"""What survives a removal goes back to what it was early in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nnopt.spec.structure.prune import RewindSpec
from nnopt.train.shaping.operation import Bench


class Rewinding:
    """Early weights, kept until the last removal, and the learning rate's way through its schedule.

    `early` holds the network's tensors by name once `keep` was called. A removal that changes their shapes puts those
    of the early network with the same removal in their place before it calls `back`.

    Frankle & Carbin 2019, arXiv:1803.03635; to a later share than 0: Frankle et al. 2020, arXiv:1912.05671; the rate
    alone: Renda et al. 2020, arXiv:2003.02389.
    """

    def __init__(self, spec: RewindSpec, removals: Sequence[float], bench: Bench) -> None:
        self.spec = spec
        self.removals = list(removals)  # shares of the budget
        self.bench = bench
        self.early: dict[str, Tensor] | None = None
        self.done = 0  # how often it went back

    def keep(self) -> None:
        """Notes the weights to go back to."""
        if self.spec.weights:
            tensors = self.bench.model.state_dict()
            self.early = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def back(self) -> str:
        """Goes back, once a removal is done: weights, the optimizer's state and the average begin anew; in words."""
        settings, state = self.bench.settings, self.bench.state
        self.done += 1
        if self.spec.rate:
            state.plateau = settings.strategy.lr_decay.plateau()
        if self.early is None:
            return f"the learning rate goes back to {self.spec.to:.4g} of its schedule"
        with torch.no_grad():
            for name, tensor in self.bench.model.state_dict().items():
                if name in self.early:
                    tensor.copy_(self.early[name])
        state.optimizer = settings.optimizer.build(self.bench.parameters)
        if state.average is not None:
            state.average.begin_anew()
        if self.done == len(self.removals):
            self.early = None
        return f"the rest goes back to where it was at {self.spec.to:.4g} of the budget"

    def rate_shares(self, before: float, after: float) -> tuple[float, float]:
        """The shares that the learning rate's schedule sees.

        Up to the first removal, at share a, it runs from 0 to 1; from each removal to the next, or to the end of the
        budget, from to/a to 1.
        """
        if not self.spec.rate:
            return before, after
        bounds = [0.0, *self.removals, 1.0]
        start, end = bounds[self.done], bounds[self.done + 1]
        first = self.spec.to / self.removals[0] if self.done and self.removals[0] else 0.0
        width = end - start

        def seen(share: float) -> float:
            place = min(max((share - start) / width, 0.0), 1.0) if width > 0 else 1.0
            return first + (1.0 - first) * place

        return seen(before), seen(after)

    def state_dict(self) -> dict[str, Any]:
        """The early weights and how often it went back."""
        return {"early": self.early, "done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        early = state["early"]
        device = self.bench.device
        self.early = None if early is None else {name: tensor.to(device) for name, tensor in early.items()}
        self.done = int(state["done"])
