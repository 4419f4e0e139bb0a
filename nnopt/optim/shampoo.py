"""Shampoo: AdaGrad with a matrix for each dimension of a parameter in place of a number for each entry.

    Lᵢ ← Lᵢ + Gᵢ Gᵢᵀ from εI, Gᵢ the gradient unfolded along dimension i of k;  D = G ×₁ L₁^(−1/2k) ×₂ ... ×ₖ Lₖ^(−1/2k)

Gupta, Koren & Singer 2018, arXiv:1802.09568. With `graft` D has the length of the gradient it came from (Agarwal et
al. 2020, arXiv:2002.11803). With `decay` below 1 the sums are moving averages. (pytorch-optimizer's form transposes the
gradients that it is given in place, which here stay where they are.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.optim.optimizer import Rule, State

__all__ = ["Shampoo", "inverse_root"]

TINY = 1e-30


@dataclass(frozen=True)
class Shampoo(Rule):
    """Shampoo on separate parameters.

    Attributes:
        momentum: μ of the velocity that the preconditioned gradients go into.
        eps: ε.
        decay: weight of the old sums; 1 adds for ever.
        update_every: steps from one computation of the roots to the next.
        max_size: a longer dimension is left as it is.
        graft: whether a step keeps the length of its gradient.
    """

    momentum: float
    eps: float
    decay: float
    update_every: int
    max_size: int
    graft: bool

    def init(self, values: Sequence[Tensor]) -> State:
        """As `Rule.init`: for dimension i a list of sums and one of their roots, empty where a value has none such."""
        state: State = {"velocity": [torch.zeros_like(value) for value in values]}
        for place in range(max((value.ndim for value in values), default=0)):
            state[f"sum{place}"] = [self._identity(value, place).mul_(self.eps) for value in values]
            state[f"root{place}"] = [self._identity(value, place) for value in values]
        state["steps"] = [torch.zeros((), dtype=torch.int64, device=values[0].device)]
        return state

    def _identity(self, value: Tensor, place: int) -> Tensor:
        size = value.shape[place] if place < value.ndim and 0 < value.shape[place] <= self.max_size else 0
        return torch.eye(size, dtype=value.dtype, device=value.device)

    def direction(self, gradients: list[Tensor], state: State) -> tuple[list[Tensor], State]:
        """As `Rule.direction`."""
        (steps,) = state["steps"]
        is_due = int(steps) % self.update_every == 0
        steps += 1
        directions = []
        for index, gradient in enumerate(gradients):
            turned = self._turned(index, gradient, state, is_due)
            if self.graft:
                turned = turned * (gradient.norm() / (turned.norm() + TINY))
            directions.append(state["velocity"][index].mul_(self.momentum).add_(turned))
        return directions, state

    def _turned(self, index: int, gradient: Tensor, state: State, is_due: bool) -> Tensor:
        """The gradient by all roots of its value."""
        turned = gradient
        for place in range(gradient.ndim):
            total, root = state[f"sum{place}"][index], state[f"root{place}"][index]
            if not total.numel():
                continue
            unfolded = gradient.movedim(place, 0).reshape(gradient.shape[place], -1)
            share = 1.0 if self.decay == 1 else 1 - self.decay
            total.mul_(self.decay).addmm_(unfolded, unfolded.T, alpha=share)
            if is_due:
                root.copy_(inverse_root(total, 2 * gradient.ndim))
            turned = torch.tensordot(root, turned, dims=([1], [place])).movedim(0, place)
        return turned


def inverse_root(matrix: Tensor, order: int) -> Tensor:
    """A^(−1/order) of a symmetric positive definite matrix [n, n], in 64 bits where the device has them."""
    kind = torch.float32 if matrix.device.type == "mps" else torch.float64
    # An overflow under fp16 is taken back afterwards, and is not to end here.
    values, vectors = torch.linalg.eigh(matrix.to(kind).nan_to_num(0.0, 0.0, 0.0))
    smallest = float(values[-1].clamp_min(TINY)) * torch.finfo(matrix.dtype).eps * len(matrix)
    powers = values.clamp_min(smallest).pow(-1 / order)
    found: Tensor = (vectors * powers) @ vectors.T
    return found.to(matrix.dtype)
