"""AdaHessian: Adam with the Hessian's diagonal in place of the gradient in the second moment.

    m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)D²;  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ˢ);  θ ← θ − ηm̂/(v̂^{k/2} + ε)

Yao et al. 2021, arXiv:2006.00719. D is an estimate of the Hessian's diagonal, s counts the estimates: where they are
made in some steps only, v̂ stays the mean of those that were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.optim.hutchinson import CurvedRule
from nnopt.optim.optimizer import State

__all__ = ["AdaHessian", "adahessian_slowly"]


@dataclass(frozen=True)
class AdaHessian(CurvedRule):
    """AdaHessian with the exponent k = `power`."""

    beta1: float
    beta2: float
    eps: float
    power: float

    def init(self, values: Sequence[Tensor]) -> State:
        """As `CurvedRule.init`. The counts are numbers on the host."""
        moments = {name: [torch.zeros_like(value) for value in values] for name in ("mean", "square")}
        counts = {name: [torch.zeros((), dtype=torch.int64)] for name in ("steps", "estimates")}
        return {**moments, **counts}

    def direction(self, gradients: list[Tensor], diagonals: list[Tensor] | None, state: State) -> list[Tensor]:
        """As `CurvedRule.direction`."""
        (steps,), (estimates,) = state["steps"], state["estimates"]
        steps += 1
        estimates += diagonals is not None
        correction1 = 1 - self.beta1 ** int(steps)
        correction2 = 1 - self.beta2 ** int(estimates)
        directions = []
        for place, (gradient, mean, square) in enumerate(zip(gradients, state["mean"], state["square"], strict=True)):
            mean.lerp_(gradient, 1 - self.beta1)
            if diagonals is not None:
                square.mul_(self.beta2).addcmul_(diagonals[place], diagonals[place], value=1 - self.beta2)
            if not estimates:  # the first one was not finite: nothing says yet how far to go
                directions.append(torch.zeros_like(mean))
                continue
            divisor = (square / correction2).pow_(self.power / 2).add_(self.eps)
            directions.append((mean / correction1).div_(divisor))
        return directions


def adahessian_slowly(
    theta: Tensor,
    steps: Iterable[tuple[Tensor, Tensor | None]],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    power: float,
) -> Iterator[Tensor]:
    """The twin: θ after each pair of gradient and diagonal (None: no new one), by the formula as written."""
    m = v = torch.zeros_like(theta)
    s = 0
    for t, (g, diagonal) in enumerate(steps, start=1):
        m = beta1 * m + (1 - beta1) * g
        if diagonal is not None:
            s += 1
            v = beta2 * v + (1 - beta2) * diagonal**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**s)
        theta = theta - lr * m_hat / (v_hat ** (power / 2) + eps)
        yield theta
