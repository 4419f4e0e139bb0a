"""Lookahead around another optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from nnopt.errors import CheckpointError
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate
from nnopt.optim.parameters import Parameters

__all__ = ["Lookahead"]


@final
class Lookahead(Optimizer):
    """Lets `base` take `every` steps, then goes only the share `alpha` of the way: φ ← φ + α(θ − φ); θ ← φ.

    The slow weights φ begin where θ does; what `base` remembers stays as it is at these moments (Zhang et al. 2019,
    arXiv:1907.08610). A step that overflowed does not count.
    """

    def __init__(self, base: Optimizer, parameters: Parameters, every: int, alpha: float) -> None:
        self.base = base
        self.parameters = parameters
        self.every = every
        self.alpha = alpha
        self._slow = [value.detach().clone() for value in parameters.values]
        # Steps since the last look back: a number, and once it is settled 0-dim on the values' device.
        self._count: int | Tensor = 0

    @property
    def inner(self) -> Optimizer:
        """As `Optimizer.inner`."""
        return self.base.inner

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`; with `finite` it waits for the device, unless it is settled."""
        self.base.step(evaluate, lr, finite)
        with torch.no_grad():
            if isinstance(self._count, Tensor):
                self._count_there(self._count, finite)
            elif finite is None or bool(finite()):
                self._count += 1
                if self._count == self.every:
                    self._count = 0
                    for value, slow in zip(self.parameters.values, self._slow, strict=True):
                        slow.lerp_(value, self.alpha)
                        value.copy_(slow)

    def _count_there(self, count: Tensor, finite: Finite | None) -> None:
        """The same with all decisions on the device: the steps are recorded."""
        count.add_(1 if finite is None else finite().to(count.dtype))
        due = count >= self.every
        for value, slow in zip(self.parameters.values, self._slow, strict=True):
            slow.copy_(torch.where(due, slow.lerp(value, self.alpha), slow))
            value.copy_(torch.where(due, slow, value))
        count.mul_(~due)

    def settle(self) -> list[Tensor]:
        """As `Optimizer.settle`."""
        if not isinstance(self._count, Tensor):
            self._count = torch.tensor(self._count, device=self.parameters.values[0].device)
        return [*self.base.settle(), *self._slow, self._count]

    def shown(self) -> list[Tensor] | None:
        """As `Optimizer.shown`, of its base."""
        return self.base.shown()

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`: the slow weights, the count of steps since, and what the base has."""
        count = self._count if isinstance(self._count, Tensor) else torch.tensor(self._count)
        return {"base": self.base.state_dict(), "slow": list(self._slow), "count": count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        slow, base = state.get("slow"), state.get("base")
        shapes = [tensor.shape for tensor in self._slow]
        if not isinstance(base, Mapping) or slow is None or [tensor.shape for tensor in slow] != shapes:
            raise CheckpointError("the optimizer's state is of another optimizer or model: it is none of lookahead's")
        self.base.load_state_dict(dict(base))
        with torch.no_grad():
            for tensor, saved in zip(self._slow, slow, strict=True):
                tensor.copy_(saved)
            if isinstance(self._count, Tensor):
                self._count.fill_(int(state["count"]))
            else:
                self._count = int(state["count"])
