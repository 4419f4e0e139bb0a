"""AdaGrad: every parameter's rate falls with the gradients it has seen.

    G ← G + g² from G = 0;  θ ← θ − ηg/√(G + ε), or with ε outside the root  θ ← θ − ηg/(√G + ε)

Duchi, Hazan & Singer 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
JMLR 12:2121–2159 (the diagonal form). ε outside is torch's form, ε inside optax's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nnopt.optim.optimizer import Rule, State

__all__ = ["Adagrad", "Epsilon", "adagrad_slowly", "root"]

Epsilon = Literal["inside", "outside"]


def root(square: Tensor, eps: float, epsilon: Epsilon) -> Tensor:
    """√(G + ε) or √G + ε, in new memory."""
    return square.add(eps).sqrt_() if epsilon == "inside" else square.sqrt().add_(eps)


@dataclass(frozen=True)
class Adagrad(Rule):
    """AdaGrad with ε inside or outside the root."""

    eps: float
    epsilon: Epsilon = "inside"

    def init(self, values: Sequence[Tensor]) -> State:
        """As `Rule.init`."""
        return {"sum": [torch.zeros_like(value) for value in values]}

    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """As `Rule.direction`."""
        directions = []
        for total, gradient in zip(state["sum"], gradients, strict=True):
            total.addcmul_(gradient, gradient)
            divisor = root(total, self.eps, self.epsilon)
            directions.append(torch.div(gradient, divisor, out=divisor))
        return directions, state


def adagrad_slowly(
    theta: Tensor, gradients: Iterable[Tensor], lr: float, eps: float, epsilon: Epsilon
) -> Iterator[Tensor]:
    """The twin: θ after each of the gradients, all of one shape, by the formula as written."""
    G = torch.zeros_like(theta)  # noqa: N806 - the formula's letter
    for g in gradients:
        G = G + g**2  # noqa: N806
        theta = theta - lr * g / ((G + eps) ** 0.5 if epsilon == "inside" else G**0.5 + eps)
        yield theta
