"""Schedule-Free: a rate that never decays, and an average of all points in place of the decay.

    y = (1 − β)z + βx;  z ← z − ηd(y);  x ← (1 − c)x + cz,  c = η²ₘₐₓ/Σ η²ₘₐₓ

Gradients are taken at y, which trains; x is what is evaluated. d is the gradient, or with `square` Adam's without its
momentum, g/(√v̂ + ε). Defazio et al. 2024, "The Road Less Scheduled", arXiv:2405.15682. Only y and z are kept:
x = y + (1 − 1/β)(z − y).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from nnopt.errors import CheckpointError
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate
from nnopt.optim.parameters import Parameters

__all__ = ["ScheduleFree", "Square", "schedule_free_slowly"]


@dataclass(frozen=True)
class Square:
    """The moving average of the squared gradient that a direction is divided by the root of."""

    beta: float
    eps: float


@final
class ScheduleFree(Optimizer):
    """Steps z along d(y) and moves y after it; weight decay λ adds λy to d.

    A rate that grows (a warm-up) makes later points weigh more in the average.
    """

    def __init__(
        self, parameters: Parameters, beta: float, square: Square | None = None, weight_decay: float = 0.0
    ) -> None:
        self.parameters = parameters
        self.beta = beta
        self.square = square
        self.weight_decay = weight_decay
        self._z = [value.detach().clone() for value in parameters.values]
        self._squares = [torch.zeros_like(value) for value in self._z] if square else []
        self._steps = 0
        self._highest = 0.0  # the highest rate so far
        self._weights = 0.0  # the sum of what the points weigh

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`; with `finite` it waits for the device."""
        evaluate()
        if finite is None or bool(finite()):
            with torch.no_grad():
                self._update(float(lr))

    def _update(self, lr: float) -> None:
        self._steps += 1
        self._highest = max(self._highest, lr)
        weight = self._highest**2
        self._weights += weight
        share = weight / self._weights if self._weights else 0.0  # a warm-up may begin at a rate of 0
        parameters = self.parameters
        for place, (y, z) in enumerate(zip(parameters.values, self._z, strict=True)):
            rate, own = lr * parameters.rates[place], parameters.weight_decays[place]
            direction = self._direction(place)
            weight_decay = self.weight_decay if own is None else own
            if weight_decay:
                direction = direction.add(y, alpha=weight_decay)
            # y of the new x and z, without x: towards z, and a part of z's own step.
            y.lerp_(z, share).add_(direction, alpha=rate * (self.beta * (1 - share) - 1))
            z.sub_(direction, alpha=rate)

    def _direction(self, place: int) -> Tensor:
        gradient = self.parameters.gradients[place]
        if self.square is None:
            return gradient
        beta = self.square.beta
        square = self._squares[place].mul_(beta).addcmul_(gradient, gradient, value=1 - beta)
        divisor = square.div(1 - beta**self._steps).sqrt_().add_(self.square.eps)
        return torch.div(gradient, divisor, out=divisor)

    def shown(self) -> list[Tensor]:
        """The average x."""
        with torch.no_grad():
            pairs = zip(self.parameters.values, self._z, strict=True)
            return [torch.lerp(y.detach(), z, 1 - 1 / self.beta) for y, z in pairs]

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`."""
        return {
            "z": list(self._z),
            "square": list(self._squares),
            "steps": self._steps,
            "highest_rate": self._highest,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        own, saved = self.state_dict(), state
        for name in ("z", "square"):
            if [one.shape for one in saved.get(name, [])] != [one.shape for one in own[name]] or "weights" not in saved:
                raise CheckpointError("the optimizer's state is not one of schedule_free on this model")
        with torch.no_grad():
            for name in ("z", "square"):
                for tensor, one in zip(own[name], saved[name], strict=True):
                    tensor.copy_(one)
        self._steps = int(saved["steps"])
        self._highest, self._weights = float(saved["highest_rate"]), float(saved["weights"])


def schedule_free_slowly(
    theta: Tensor, gradients: Iterable[Tensor], rates: Iterable[float], beta: float, square: Square | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The twin: (y, x) after each of the gradients, by the three sequences as written."""
    x = y = z = theta
    v = torch.zeros_like(theta)
    highest = total = 0.0
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=False), start=1):
        d = g
        if square is not None:
            v = square.beta * v + (1 - square.beta) * g**2
            d = g / ((v / (1 - square.beta**t)) ** 0.5 + square.eps)
        highest = max(highest, lr)
        total += highest**2
        z = z - lr * d
        c = highest**2 / total
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x
        yield y, x
