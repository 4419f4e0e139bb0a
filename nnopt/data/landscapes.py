"""The classic test functions of optimisation, with where they are lowest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Landscape:
    """A function of d numbers that is to be made small.

    Attributes:
        name: what it is called.
        value: places [..., d] to heights [...], differentiable.
        minima: [m, d], the places where it is lowest.
        reach: it is usually looked at where every coordinate is between -reach and reach.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    minima: Tensor
    reach: float

    @property
    def dimensions(self) -> int:
        """d."""
        return int(self.minima.shape[1])

    def distance(self, places: Tensor) -> Tensor:
        """From places [n, d] to the nearest minimum each: [n]."""
        minima = self.minima.to(places)
        nearest: Tensor = torch.cdist(places, minima).amin(1)
        return nearest


def quadratic(dimensions: int, condition: float, turned: bool) -> Landscape:
    """½ Σ λᵢxᵢ², λ in equal ratios from 1 to `condition`; `turned`: its axes are not those of the coordinates.

    Turned, x is first mirrored at the hyperplane across (1, 2, ..., d): a Householder reflection.
    """
    powers = [index / max(dimensions - 1, 1) for index in range(dimensions)]
    curvatures = torch.tensor([condition**power for power in powers], dtype=torch.float64)
    across = torch.arange(1.0, dimensions + 1, dtype=torch.float64)
    across /= across.norm()

    def value(places: Tensor) -> Tensor:
        if turned:
            normal = across.to(places)
            places = places - 2 * (places @ normal)[..., None] * normal
        height: Tensor = (curvatures.to(places) * places.square()).sum(-1) / 2
        return height

    return Landscape("quadratic", value, torch.zeros(1, dimensions), 2.0)


def rosenbrock(dimensions: int) -> Landscape:
    """Σ 100(xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²: a bent valley, lowest at (1, ..., 1)."""

    def value(places: Tensor) -> Tensor:
        here, after = places[..., :-1], places[..., 1:]
        height: Tensor = (100 * (after - here.square()).square() + (1 - here).square()).sum(-1)
        return height

    return Landscape("rosenbrock", value, torch.ones(1, dimensions), 2.0)


def beale() -> Landscape:
    """(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²: flat, with steep corners; lowest at (3, ½)."""

    def value(places: Tensor) -> Tensor:
        x, y = places[..., 0], places[..., 1]
        parts = [c - x + x * y**power for power, c in ((1, 1.5), (2, 2.25), (3, 2.625))]
        return parts[0].square() + parts[1].square() + parts[2].square()

    return Landscape("beale", value, torch.tensor([[3.0, 0.5]]), 4.5)


def himmelblau() -> Landscape:
    """(x² + y − 11)² + (x + y² − 7)²: four minima of height 0."""

    def value(places: Tensor) -> Tensor:
        x, y = places[..., 0], places[..., 1]
        return (x.square() + y - 11).square() + (x + y.square() - 7).square()

    # Roots of both brackets, to the digits of float32.
    minima = [[3.0, 2.0], [-2.805118, 3.131313], [-3.779310, -3.283186], [3.584428, -1.848127]]
    return Landscape("himmelblau", value, torch.tensor(minima), 5.0)


def rastrigin(dimensions: int) -> Landscape:
    """10d + Σ xᵢ² − 10 cos 2πxᵢ: a bowl full of dents, lowest at 0."""

    def value(places: Tensor) -> Tensor:
        height: Tensor = (10 + places.square() - 10 * torch.cos(2 * math.pi * places)).sum(-1)
        return height

    return Landscape("rastrigin", value, torch.zeros(1, dimensions), 5.12)
