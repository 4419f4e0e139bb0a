"""Gradient descent, plain and with momentum.

    v ← μv + g from v = 0;  θ ← θ − ηv, or with Nesterov's look-ahead  θ ← θ − η(g + μv)

With μ = 0 it is θ ← θ − ηg: `gd` where g is the gradient of the whole training set (Cauchy 1847), `sgd`
where it is that of a mini-batch (Robbins & Monro 1951). Heavy ball: Polyak 1964. The form of Nesterov's rule
is that of Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", with
the learning rate outside v, as in torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from nnopt.optim.fused import FUSED_ON, rate_for
from nnopt.optim.optimizer import Rate, Rule, State

__all__ = ["GradientDescent", "gradient_descent_slowly"]


@dataclass(frozen=True)
class GradientDescent(Rule):
    """Gradient descent with heavy-ball or Nesterov momentum μ; without momentum it has no state."""

    momentum: float = 0.0
    nesterov: bool = False

    def init(self, values: Sequence[Tensor]) -> State:
        """As `Rule.init`."""
        return {"velocity": [torch.zeros_like(value) for value in values]} if self.momentum else {}

    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """As `Rule.direction`."""
        if not self.momentum:
            return gradients, state
        velocities = state["velocity"]
        for velocity, gradient in zip(velocities, gradients, strict=True):
            velocity.mul_(self.momentum).add_(gradient)
        if not self.nesterov:
            return velocities, state
        ahead = [
            torch.add(gradient, velocity, alpha=self.momentum)
            for velocity, gradient in zip(velocities, gradients, strict=True)
        ]
        return ahead, state

    def step_at_once(self, values: list[Tensor], gradients: list[Tensor], state: State, lr: Rate) -> bool:
        """As `Rule.step_at_once`: torch's fused kernel, where there is momentum (else one addition is all there is)."""
        if not self.momentum or len(values) > 1 or values[0].device.type not in FUSED_ON:
            return False
        sgd(
            values,
            gradients,
            list(state["velocity"]),
            fused=True,
            weight_decay=0.0,
            momentum=self.momentum,
            lr=rate_for(lr),  # type: ignore[arg-type]  # its kernels take a tensor too
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )
        return True


def gradient_descent_slowly(
    theta: Tensor, gradients: Iterable[Tensor], lr: float, momentum: float = 0.0, nesterov: bool = False
) -> Iterator[Tensor]:
    """The twin: θ after each of the gradients, all of one shape, by the formula as written."""
    v = torch.zeros_like(theta)
    for g in gradients:
        v = momentum * v + g
        theta = theta - lr * (g + momentum * v if nesterov else v)
        yield theta
