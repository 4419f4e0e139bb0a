"""Rates of single parameters for optimizers that know only one rate."""

from __future__ import annotations

import math

import torch

from nnopt.optim.parameters import Parameters

__all__ = ["Scaled"]


class Scaled:
    """Parameters in other units: φ = θ/√r where a group's rate is multiplied by r.

    The gradient by φ is √r·∂J/∂θ, so that a step along it, φ ← φ − η√r·g, moves θ by ηr·g; a line search and its
    guess of the curvature work on φ as on any parameters.

    Attributes:
        values: φ, a tensor for each of the parameters' values, whose `.grad` is the gradient by φ.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.roots = [math.sqrt(rate) for rate in parameters.rates]
        self.values = [value.detach().clone() for value in parameters.values]
        for value in self.values:
            value.grad = torch.zeros_like(value)

    @torch.no_grad()
    def take(self) -> None:
        """φ becomes what θ is."""
        for inner, value, root in zip(self.values, self.parameters.values, self.roots, strict=True):
            torch.div(value, root, out=inner)

    @torch.no_grad()
    def put(self) -> None:
        """θ becomes what φ is."""
        for inner, value, root in zip(self.values, self.parameters.values, self.roots, strict=True):
            torch.mul(inner, root, out=value)

    @torch.no_grad()
    def take_gradient(self) -> None:
        """The gradient by φ becomes what that by θ is."""
        for inner, gradient, root in zip(self.values, self.parameters.gradients, self.roots, strict=True):
            assert inner.grad is not None
            torch.mul(gradient, root, out=inner.grad)
