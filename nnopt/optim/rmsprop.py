"""RMSprop: the gradient divided by the root of a moving average of its square.

    G ← βG + (1 − β)g² from G = 0;  d = g/√(G + ε), or with ε outside the root  d = g/(√G + ε);  θ ← θ − ηd

Options: centered, in which G is replaced in d by the variance G − m², m ← βm + (1 − β)g; momentum μ, in which
b ← μb + d from b = 0 takes the place of d. Tieleman & Hinton 2012, Coursera "Neural Networks for Machine
Learning", lecture 6.5; centered: Graves 2013, arXiv:1308.0850.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.optim.adagrad import Epsilon, root
from nnopt.optim.optimizer import Rule, State

__all__ = ["RmsProp", "rmsprop_slowly"]


@dataclass(frozen=True)
class RmsProp(Rule):
    """RMSprop with ε inside or outside the root, centered or not, with or without momentum."""

    beta: float
    eps: float
    epsilon: Epsilon = "inside"
    centered: bool = False
    momentum: float = 0.0

    def init(self, values: Sequence[Tensor]) -> State:
        """As `Rule.init`."""
        names = ["variance", "mean"] if self.centered else ["square"]
        names += ["velocity"] * (self.momentum > 0)
        return {name: [torch.zeros_like(value) for value in values] for name in names}

    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """As `Rule.direction`."""
        spreads = self._centered(gradients, state) if self.centered else self._plain(gradients, state)
        directions = []
        for spread, gradient in zip(spreads, gradients, strict=True):
            divisor = root(spread, self.eps, self.epsilon)
            directions.append(torch.div(gradient, divisor, out=divisor))
        if not self.momentum:
            return directions, state
        for velocity, direction in zip(state["velocity"], directions, strict=True):
            velocity.mul_(self.momentum).add_(direction)
        return state["velocity"], state

    def _plain(self, gradients: list[Tensor], state: State) -> list[Tensor]:
        for square, gradient in zip(state["square"], gradients, strict=True):
            square.mul_(self.beta).addcmul_(gradient, gradient, value=1 - self.beta)
        return state["square"]

    def _centered(self, gradients: list[Tensor], state: State) -> list[Tensor]:
        """The variance by a recurrence of its own: V ← β(V + (1 − β)(g − m)²), with m before its update.

        It equals G − m² but cannot round below 0 (Welford 1962, weighted: West 1979).
        """
        for variance, mean, gradient in zip(state["variance"], state["mean"], gradients, strict=True):
            apart = gradient - mean
            variance.addcmul_(apart, apart, value=1 - self.beta).mul_(self.beta)
            mean.lerp_(gradient, 1 - self.beta)
        return state["variance"]


def rmsprop_slowly(
    theta: Tensor,
    gradients: Iterable[Tensor],
    lr: float,
    beta: float,
    eps: float,
    epsilon: Epsilon,
    centered: bool = False,
    momentum: float = 0.0,
) -> Iterator[Tensor]:
    """The twin: θ after each of the gradients, all of one shape, by the formula as written."""
    G = m = b = torch.zeros_like(theta)  # noqa: N806 - the formula's letter
    for g in gradients:
        G = beta * G + (1 - beta) * g**2  # noqa: N806
        m = beta * m + (1 - beta) * g
        spread = (G - m**2).clamp(min=0) if centered else G
        b = momentum * b + g / ((spread + eps) ** 0.5 if epsilon == "inside" else spread**0.5 + eps)
        theta = theta - lr * b
        yield theta
