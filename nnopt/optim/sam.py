"""Sharpness-aware minimisation around another optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nnopt.errors import UsageError
from nnopt.optim.objective import Objective
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate
from nnopt.optim.parameters import Parameters, total_norm

__all__ = ["SharpnessAware"]

# What keeps a gradient of length 0 from being divided by 0.
SHORTEST = 1e-12


@final
class SharpnessAware(Optimizer):
    """Lets `base` step from θ with the gradient at the worst of the points around it: θ + ρg/‖g‖.

    With `adaptive` the neighbourhood is that of the weights' own scale: θ + ρθ²g/‖θg‖ (Kwon et al. 2021,
    arXiv:2102.11600). Two evaluations a step, both on the same batch; batch norm keeps the statistics of the first,
    as its weights are those that stay (Foret et al. 2021, arXiv:2010.01412).
    """

    def __init__(self, base: Optimizer, parameters: Parameters, rho: float, adaptive: bool = False) -> None:
        self.base = base
        self.parameters = parameters
        self.rho = rho
        self.adaptive = adaptive

    @property
    def inner(self) -> Optimizer:
        """As `Optimizer.inner`."""
        return self.base.inner

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`, except that it takes no `finite`.

        Raises:
            UsageError: `finite` is given: the way to the second point cannot be left where the first overflowed.
        """
        if finite is not None:
            raise UsageError("an optimizer that evaluates several times a step cannot use fp16: take bf16 or fp32")
        self.base.step(lambda: self._worst(evaluate), lr)

    def _worst(self, evaluate: Evaluate) -> Tensor:
        """The objective at θ; the gradients that lie there afterwards are those at the point uphill, θ is as it was."""
        objective = evaluate()
        values = self.parameters.values
        with torch.no_grad():
            kept = [value.clone() for value in values]
            for value, way in zip(values, self._uphill(), strict=True):
                value.add_(way)
        with _still_statistics(evaluate):
            evaluate()
        with torch.no_grad():
            for value, before in zip(values, kept, strict=True):
                value.copy_(before)
        return objective

    def _uphill(self) -> list[Tensor]:
        values, gradients = self.parameters.values, self.parameters.gradients
        if not self.adaptive:
            scale = self.rho / (total_norm(gradients) + SHORTEST)
            return [gradient * scale for gradient in gradients]
        pairs = list(zip(values, gradients, strict=True))
        scale = self.rho / (total_norm([value * gradient for value, gradient in pairs]) + SHORTEST)
        return [value.square() * gradient * scale for value, gradient in pairs]

    def shown(self) -> list[Tensor] | None:
        """As `Optimizer.shown`, of its base."""
        return self.base.shown()

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`: that of its base, it has none of its own."""
        return self.base.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        self.base.load_state_dict(state)


@contextmanager
def _still_statistics(evaluate: Evaluate) -> Iterator[None]:
    """While it lasts, forward passes of the network leave the running statistics of batch norm as they are."""
    network = evaluate.smooth().network if isinstance(evaluate, Objective) else nn.Identity()
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.training]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.sub_(1)
