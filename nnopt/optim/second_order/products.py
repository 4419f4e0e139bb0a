"""Products of a vector with the Hessian, or with the Gauss-Newton matrix, of an objective at one place.

Vectors are flat here: [count], the values one after the other. What they are products with is never written down.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from nnopt.optim.objective import Smooth

__all__ = ["GaussNewton", "Hessian", "Products", "flat", "like"]


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries of these tensors in one vector, a copy, [count]."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def like(vector: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The parts of a vector, in the shapes of `tensors`; with leading dimensions of `vector` before them."""
    parts = vector.split_with_sizes([tensor.numel() for tensor in tensors], dim=-1)
    lead = vector.shape[:-1]
    return [part.reshape(*lead, *tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


class Products(ABC):
    """A symmetric matrix [count, count] by its products, each counted as two passes."""

    def __init__(self, smooth: Smooth, values: Sequence[Tensor]) -> None:
        self.smooth = smooth
        self.places = [value.detach().clone().requires_grad_() for value in values]

    @abstractmethod
    def __call__(self, vector: Tensor) -> Tensor:
        """The matrix times a vector [count]."""


class Hessian(Products):
    """The Hessian, by the derivative of the gradient along a vector (Pearlmutter 1994).

    The forward and backward passes that give the gradient are run once, the second derivative through them for each
    product.
    """

    def __init__(self, smooth: Smooth, values: Sequence[Tensor]) -> None:
        super().__init__(smooth, values)
        with torch.enable_grad():
            gradients = torch.autograd.grad(smooth(self.places), self.places, create_graph=True, materialize_grads=True)
        # A gradient that does not depend on the values, as of a linear objective, has no second derivative to follow.
        self._takes_batches = True
        self._curved = [(place, one) for place, one in enumerate(gradients) if one.requires_grad]
        smooth.count(1)

    def __call__(self, vector: Tensor) -> Tensor:
        """As the base class says."""
        self.smooth.count(2)
        return self._along(vector, is_batch=False)

    def rows(self, at_once: int) -> Tensor:
        """The whole matrix, [count, count], `at_once` of its rows in one pass."""
        count = sum(place.numel() for place in self.places)
        matrix = self.places[0].new_zeros(count, count)
        for start in range(0, count, at_once):
            stop = min(start + at_once, count)
            ways = matrix.new_zeros(stop - start, count)
            ways[torch.arange(stop - start), torch.arange(start, stop)] = 1
            matrix[start:stop] = self._rows_along(ways)
        self.smooth.count(2 * count)
        return matrix

    def _rows_along(self, ways: Tensor) -> Tensor:
        if self._takes_batches:
            try:
                return self._along(ways, is_batch=True)
            except RuntimeError:  # torch has no batch of second derivatives of some layers, as with the channels last
                self._takes_batches = False
        return torch.stack([self._along(way, is_batch=False) for way in ways])

    def _along(self, ways: Tensor, is_batch: bool) -> Tensor:
        if not self._curved:
            return torch.zeros_like(ways)
        parts, blank = like(ways, self.places), like(torch.zeros_like(ways), self.places)
        products = torch.autograd.grad(
            [one for _, one in self._curved],
            self.places,
            [parts[place] for place, _ in self._curved],
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=is_batch,
        )
        whole = [part if product is None else product for part, product in zip(blank, products, strict=True)]
        return torch.cat([part.reshape(*ways.shape[:-1], -1) for part in whole], dim=-1)


class GaussNewton(Products):
    """JᵀLJ + R: J of the outputs in the values, L the loss's Hessian in the outputs, R the penalty's in the values.

    Schraudolph 2002, Fast curvature matrix-vector products for second-order gradient descent. Jv is the derivative of
    Jᵀu, which is linear in u, along v.
    """

    def __init__(self, smooth: Smooth, values: Sequence[Tensor]) -> None:
        super().__init__(smooth, values)
        with torch.enable_grad():
            self._outputs = smooth.outputs(self.places)
            self._ways = torch.zeros_like(self._outputs, requires_grad=True)
            self._back = torch.autograd.grad(
                self._outputs, self.places, self._ways, create_graph=True, materialize_grads=True
            )
            self._given = self._outputs.detach().requires_grad_()
            (self._slope,) = torch.autograd.grad(smooth.loss(self._given), self._given, create_graph=True)
            penalty = smooth.penalty(self.places)
            self._pull = (
                torch.autograd.grad(penalty, self.places, create_graph=True, materialize_grads=True)
                if penalty.requires_grad
                else ()
            )
        smooth.count(1)

    def __call__(self, vector: Tensor) -> Tensor:
        """As the base class says."""
        self.smooth.count(2)
        parts = like(vector, self.places)
        total = torch.zeros_like(vector)
        linked = [(one, part) for one, part in zip(self._back, parts, strict=True) if one.requires_grad]
        if linked and self._slope.requires_grad:
            ones, along = zip(*linked, strict=True)
            (forward,) = torch.autograd.grad(ones, self._ways, along, retain_graph=True, materialize_grads=True)
            (bent,) = torch.autograd.grad(self._slope, self._given, forward, retain_graph=True, materialize_grads=True)
            total += flat(
                torch.autograd.grad(self._outputs, self.places, bent, retain_graph=True, materialize_grads=True)
            )
        pulled = [(one, part) for one, part in zip(self._pull, parts, strict=False) if one.requires_grad]
        if pulled:
            ones, along = zip(*pulled, strict=True)
            total += flat(torch.autograd.grad(ones, self.places, along, retain_graph=True, materialize_grads=True))
        return total
