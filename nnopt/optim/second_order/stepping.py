"""What all second-order methods do once they have a step: measure it, shorten it, and adapt the damping to it.

    ρ = (f(θ) − f(θ + ηp)) / (−ηg·p − ½η²pᵀBp)

The damping λ of (B + λI)p = −g falls where ρ > ¾, for the model could be trusted further, and rises where ρ < ¼
(Levenberg 1944, Marquardt 1963; Martens 2010, Deep learning via Hessian-free optimization, section 4.1).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from nnopt.errors import CheckpointError, UsageError
from nnopt.optim.objective import Smooth, objective_of
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate
from nnopt.optim.parameters import Parameters
from nnopt.optim.second_order.line_search import Search, backtracked
from nnopt.optim.second_order.products import flat, like

__all__ = ["SecondOrder"]

TRIALS = 12  # lengths that a line search tries
RISE, FALL, LEAP = 4.0, 0.5, 16.0  # of λ: where ρ < ¼, where ρ > ¾, and where no step was taken
HIGHEST = 1e12  # above it steps are nothing


class SecondOrder(Optimizer, ABC):
    """Steps along the p of (B + λI)p = −g, B a matrix of second derivatives of the batch's objective.

    Where the objective or its gradient is not finite, or no length of the step lowers the objective, the values stay
    and λ rises. Where the gradient is exactly 0, nothing changes.
    """

    def __init__(self, parameters: Parameters, kind: str, damping: float, searches: bool) -> None:
        self.parameters = parameters
        self.kind = kind
        self.searches = searches
        self._damping = torch.tensor(damping, dtype=torch.float64)

    @abstractmethod
    def solve(self, smooth: Smooth, values: Sequence[Tensor], gradient: Tensor, damping: float) -> tuple[Tensor, float]:
        """The step p, [count], and pᵀBp without the damping."""

    @final
    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`, except that it takes no `finite`; `lr` is the longest share of p that is tried.

        Raises:
            UsageError: `finite` is given, or `evaluate` is no Objective.
        """
        if finite is not None:
            raise UsageError(f"optimizer {self.kind} needs second derivatives and cannot use fp16: take fp32")
        objective = objective_of(evaluate, self.kind)
        before, longest = float(objective()), float(lr)
        gradient = flat(self.parameters.gradients)
        norm = float(torch.linalg.vector_norm(gradient))
        if norm == 0 or longest == 0:
            return
        if not math.isfinite(before + norm):
            self._raise(LEAP, 1.0)
            return
        smooth = objective.smooth()
        way, curvature = self.solve(smooth, self.parameters.values, gradient, float(self._damping))
        slope, size = float(gradient @ way), float(torch.linalg.vector_norm(way))
        if not (math.isfinite(size + curvature) and slope < 0):
            self._raise(LEAP, norm)
            return
        slack = 8 * torch.finfo(gradient.dtype).eps * abs(before)  # what two ways to compute one objective differ by
        found = self._search(smooth, way, before, slope, longest, slack)
        if found.length is None:
            self._raise(LEAP, norm / size)
            return
        with torch.no_grad():
            for value, part in zip(self.parameters.values, like(way, self.parameters.values), strict=True):
                value.add_(part, alpha=found.length)
        predicted = -longest * slope - longest**2 / 2 * curvature
        self._adapt(before - found.first, predicted, slack, norm / size)

    def _search(self, smooth: Smooth, way: Tensor, before: float, slope: float, longest: float, slack: float) -> Search:
        values = [value.detach() for value in self.parameters.values]
        parts = like(way, values)

        def value(length: float) -> float:
            smooth.count(1)
            with torch.no_grad():
                return float(smooth([one + length * part for one, part in zip(values, parts, strict=True)]))

        if self.searches:
            return backtracked(value, before, slope, longest, TRIALS, slack)
        reached = value(longest)
        return Search(longest if math.isfinite(reached) else None, reached)

    def _adapt(self, seen: float, predicted: float, slack: float, scale: float) -> None:
        if predicted <= 4 * slack and not seen < -4 * slack:
            return  # both are rounding
        if not seen >= predicted / 4:
            self._raise(RISE, scale)
        elif seen > 0.75 * predicted:
            self._damping *= FALL

    def _raise(self, factor: float, scale: float) -> None:
        """Multiplies λ; one of 0 becomes `scale`, ‖g‖/‖p‖: the λ that halves a step along a single direction."""
        old = float(self._damping)
        self._damping.fill_(min(old * factor if old > 0 else scale, HIGHEST))

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`: the damping, 0-dim."""
        return {"damping": self._damping}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        saved = state.get("damping")
        if set(state) != {"damping"} or not isinstance(saved, Tensor) or saved.shape != ():
            raise CheckpointError(f"the optimizer's state is not one of {self.kind}, which is a damping alone")
        self._damping.copy_(saved)
