"""The diagonal of the Hessian from products with random signs, and what steps by it.

    D ≈ z ⊙ Hz, E[D] = diag(H) for random z with E[zzᵀ] = I

Bekas, Kokiopoulou & Saad 2007, An estimator for the diagonal of a matrix. With signs the entries of H off the diagonal
are the only error; with normal numbers those on it add theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Literal, final

import torch
from torch import Tensor

from nnopt.errors import CheckpointError, UsageError
from nnopt.optim.objective import Objective, Smooth, objective_of
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate, State
from nnopt.optim.parameters import Parameters

__all__ = ["CurvedRule", "HutchinsonOptimizer", "Probe", "diagonal"]

Probe = Literal["rademacher", "gaussian"]


def diagonal(smooth: Smooth, parameters: Parameters, probes: int, kind: Probe, draw: torch.Generator) -> list[Tensor]:
    """The mean of z ⊙ Hz over `probes` random z: an estimate of the Hessian's diagonal, laid out as the values.

    z has independent entries, signs (rademacher) or normal ones, drawn parameter by parameter in the order of their
    names, so that the layout does not matter; all products share one forward pass.
    """
    places = [value.detach().requires_grad_() for value in parameters.values]
    total = [torch.zeros_like(value, requires_grad=False) for value in places]
    with torch.enable_grad():
        gradients = torch.autograd.grad(smooth(places), places, create_graph=True, materialize_grads=True)
        # A gradient that does not depend on the values, as in a linear model, has no second derivative to follow.
        curved = [gradient for gradient in gradients if gradient.requires_grad]
        for probe in range(probes):
            ways = _random(parameters, kind, draw)
            if not curved:
                break
            along = [way for gradient, way in zip(gradients, ways, strict=True) if gradient.requires_grad]
            again = probe + 1 < probes
            products = torch.autograd.grad(curved, places, along, retain_graph=again, materialize_grads=True)
            for one, way, product in zip(total, ways, products, strict=True):
                one.addcmul_(way, product, value=1 / probes)
    smooth.count(2 * probes)
    return total


def _random(parameters: Parameters, kind: Probe, draw: torch.Generator) -> list[Tensor]:
    ways = [torch.empty_like(value, requires_grad=False) for value in parameters.values]
    for _, part in sorted(parameters.named(ways), key=itemgetter(0)):
        fresh = torch.empty(part.shape, dtype=part.dtype, device=part.device)
        if kind == "gaussian":
            part.copy_(fresh.normal_(generator=draw))
        else:
            part.copy_(fresh.random_(0, 2, generator=draw).mul_(2).sub_(1))
    return ways


class CurvedRule(ABC):
    """θ ← θ − ηd, where d follows from gradients and now and then the Hessian's diagonal."""

    @abstractmethod
    def init(self, values: Sequence[Tensor]) -> State:
        """The state before the first step."""

    @abstractmethod
    def direction(self, gradients: list[Tensor], diagonals: list[Tensor] | None, state: State) -> list[Tensor]:
        """The direction d, shaped as `gradients`; changes `state` in place, and gradients and diagonals never.

        `diagonals` is None in the steps between two estimates.
        """


@final
class HutchinsonOptimizer(Optimizer):
    """A rule at work on parameters, with estimates of the Hessian's diagonal every `update_every` steps.

    Decoupled weight decay λ, rates and weight decays of groups are as in RuleOptimizer: θ ← (1 − ηλ)θ − ηd. With
    `averages_kernels` the entries of a convolution's kernel share the mean of their absolute values (Yao et al. 2021,
    arXiv:2006.00719, section 3.2). An estimate that is not finite is passed over.
    """

    def __init__(
        self,
        rule: CurvedRule,
        parameters: Parameters,
        kind: str,
        *,
        update_every: int,
        probes: int,
        probe: Probe,
        weight_decay: float = 0.0,
        averages_kernels: bool = False,
    ) -> None:
        self.rule = rule
        self.parameters = parameters
        self.kind = kind
        self.update_every = update_every
        self.probes = probes
        self.probe = probe
        self.weight_decay = weight_decay
        self.averages_kernels = averages_kernels
        with torch.no_grad():
            self._state: State = {**rule.init(parameters.values), "updates": [torch.zeros((), dtype=torch.int64)]}

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`, except that it takes no `finite`.

        Raises:
            UsageError: `finite` is given, or `evaluate` is no Objective.
        """
        if finite is not None:
            raise UsageError(f"optimizer {self.kind} needs second derivatives and cannot use fp16: take bf16 or fp32")
        objective = objective_of(evaluate, self.kind)
        objective()
        (updates,) = self._state["updates"]
        diagonals = self._estimate(objective) if int(updates) % self.update_every == 0 else None
        updates += 1
        with torch.no_grad():
            directions = self.rule.direction(self.parameters.gradients, diagonals, self._state)
            places = zip(
                self.parameters.values, directions, self.parameters.rates, self.parameters.weight_decays, strict=True
            )
            for value, direction, rate, own in places:
                weight_decay = self.weight_decay if own is None else own
                if weight_decay:
                    value.mul_(1 - lr * rate * weight_decay)
                value.sub_(direction * (lr * rate))

    def _estimate(self, objective: Objective) -> list[Tensor] | None:
        smooth, draw = objective.smooth(), objective.generator()
        found = diagonal(smooth, self.parameters, self.probes, self.probe, draw)
        if not all(bool(one.isfinite().all()) for one in found):
            return None
        if self.averages_kernels:
            for _, part in self.parameters.named(found):
                if part.dim() > 2:
                    part.copy_(part.abs().mean(dim=tuple(range(2, part.dim())), keepdim=True).expand_as(part))
        return found

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`: the rule's state, and the count of steps."""
        return {name: list(tensors) for name, tensors in self._state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        expected = {name: [tensor.shape for tensor in tensors] for name, tensors in self._state.items()}
        if expected != {name: [tensor.shape for tensor in tensors] for name, tensors in state.items()}:
            raise CheckpointError(f"the optimizer's state is not one of {self.kind} on this model")
        for name, tensors in self._state.items():
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.copy_(saved)
