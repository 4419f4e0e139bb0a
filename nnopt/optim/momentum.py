"""Momentum as an exponential moving average of the gradient.

    v ← βv + (1 − β)g from v = 0;  θ ← θ − ηv

It is Polyak's heavy ball (1964) with the step scaled by 1 − β, so that a learning rate keeps its meaning
when β changes. The average starts at 0 and is not corrected for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.optim.optimizer import Rule, State

__all__ = ["Momentum", "momentum_slowly"]


@dataclass(frozen=True)
class Momentum(Rule):
    """Steps along the moving average of the gradient, β in [0, 1)."""

    beta: float

    def init(self, values: Sequence[Tensor]) -> State:
        """As `Rule.init`."""
        return {"mean": [torch.zeros_like(value) for value in values]}

    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """As `Rule.direction`."""
        for mean, gradient in zip(state["mean"], gradients, strict=True):
            mean.lerp_(gradient, 1 - self.beta)
        return state["mean"], state


def momentum_slowly(theta: Tensor, gradients: Iterable[Tensor], lr: float, beta: float) -> Iterator[Tensor]:
    """The twin: θ after each of the gradients, all of one shape, by the formula as written."""
    v = torch.zeros_like(theta)
    for g in gradients:
        v = beta * v + (1 - beta) * g
        theta = theta - lr * v
        yield theta
