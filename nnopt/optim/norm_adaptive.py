"""Gradient descent whose rate falls with the length of the gradient.

    θ ← θ − η/(1 + β‖g‖²) · g,  the 2-norm over all parameters

For a short gradient it is plain descent; a step is never longer than η/(2√β).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from nnopt.optim.optimizer import Rule, State
from nnopt.optim.parameters import total_norm

__all__ = ["NormAdaptive", "norm_adaptive_slowly"]


@dataclass(frozen=True)
class NormAdaptive(Rule):
    """Descent with the rate η/(1 + β‖g‖²), β ≥ 0; it has no state."""

    beta: float

    def init(self, values: Sequence[Tensor]) -> State:
        """As `Rule.init`."""
        return {}

    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """As `Rule.direction`."""
        scale = (1 + self.beta * total_norm(gradients).square()).reciprocal()
        return [gradient * scale for gradient in gradients], state


def norm_adaptive_slowly(theta: Tensor, gradients: Iterable[Tensor], lr: float, beta: float) -> Iterator[Tensor]:
    """The twin: θ after each of the gradients, all of one shape, by the formula as written."""
    for g in gradients:
        theta = theta - lr / (1 + beta * (g * g).sum()) * g
        yield theta
