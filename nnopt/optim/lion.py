"""Lion: steps of one length, along the sign of an average of the gradient that leans towards the newest.

    d = sign(β₁m + (1 − β₁)g);  m ← β₂m + (1 − β₂)g;  θ ← θ − ηd

Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.optim.optimizer import Rule, State

__all__ = ["Lion", "lion_slowly"]


@dataclass(frozen=True)
class Lion(Rule):
    """Lion; weight decay is RuleOptimizer's, decoupled."""

    beta1: float
    beta2: float

    def init(self, values: Sequence[Tensor]) -> State:
        """As `Rule.init`."""
        return {"mean": [torch.zeros_like(value) for value in values]}

    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """As `Rule.direction`."""
        directions = []
        for mean, gradient in zip(state["mean"], gradients, strict=True):
            directions.append(mean.lerp(gradient, 1 - self.beta1).sign_())
            mean.lerp_(gradient, 1 - self.beta2)
        return directions, state


def lion_slowly(theta: Tensor, gradients: Iterable[Tensor], lr: float, beta1: float, beta2: float) -> Iterator[Tensor]:
    """The twin: θ after each of the gradients, by the formula as written."""
    m = torch.zeros_like(theta)
    for g in gradients:
        theta = theta - lr * torch.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
        yield theta
