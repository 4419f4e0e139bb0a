"""Sophia: the mean gradient over the Hessian's diagonal, entry by entry, and no entry longer than ρ.

    m ← β₁m + (1 − β₁)g;  h ← β₂h + (1 − β₂)D every k steps;  θ ← θ − η·clip(m/max(γh, ε), ρ)

Liu et al. 2023, arXiv:2305.14342, Algorithm 3 with Hutchinson's estimate D of the diagonal; its ρ is 1. Where the
curvature is negative or small, the step is ρη along the sign of m.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.optim.hutchinson import CurvedRule
from nnopt.optim.optimizer import State

__all__ = ["Sophia", "sophia_slowly"]


@dataclass(frozen=True)
class Sophia(CurvedRule):
    """Sophia-H."""

    beta1: float
    beta2: float
    gamma: float
    eps: float
    clip: float

    def init(self, values: Sequence[Tensor]) -> State:
        """As `CurvedRule.init`."""
        return {name: [torch.zeros_like(value) for value in values] for name in ("mean", "curvature")}

    def direction(self, gradients: list[Tensor], diagonals: list[Tensor] | None, state: State) -> list[Tensor]:
        """As `CurvedRule.direction`."""
        directions = []
        places = zip(gradients, state["mean"], state["curvature"], strict=True)
        for place, (gradient, mean, curvature) in enumerate(places):
            mean.lerp_(gradient, 1 - self.beta1)
            if diagonals is not None:
                curvature.lerp_(diagonals[place], 1 - self.beta2)
            divisor = (curvature * self.gamma).clamp_(min=self.eps)
            directions.append(torch.div(mean, divisor, out=divisor).clamp_(-self.clip, self.clip))
        return directions


def sophia_slowly(
    theta: Tensor,
    steps: Iterable[tuple[Tensor, Tensor | None]],
    lr: float,
    beta1: float,
    beta2: float,
    gamma: float,
    eps: float,
    clip: float,
) -> Iterator[Tensor]:
    """The twin: θ after each pair of gradient and diagonal (None: no new one), entry by entry."""
    theta, m, h = theta.clone(), torch.zeros_like(theta), torch.zeros_like(theta)
    for g, diagonal in steps:
        for index in range(len(theta)):
            m[index] = beta1 * m[index] + (1 - beta1) * g[index]
            if diagonal is not None:
                h[index] = beta2 * h[index] + (1 - beta2) * diagonal[index]
            wanted = float(m[index]) / max(gamma * float(h[index]), eps)
            theta[index] -= lr * max(-clip, min(clip, wanted))
        yield theta.clone()
