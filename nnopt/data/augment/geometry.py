"""Images that are turned, stretched, moved, sheared and mirrored: all in one resampling.

Places are measured in pixels from the middle of the image, x to the right and y downwards. A change says where the
pixel that comes to lie at y was before: at B·y + s. Of several changes one after the other, the first one's B₁ and s₁
and the second's B₂ and s₂ give B₁B₂ and B₁s₂ + s₁.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.data.augment.pixels import Pixels
from nnopt.data.augment.transform import Transform, chosen, constant, uniform, where_chosen

# What is seen beyond the edge, and torch's word for it.
FILLS = {"black": "zeros", "edge": "border", "mirror": "reflection"}


class Motion(Transform, ABC):
    """A linear change of places for a share of the samples."""

    def __init__(self, share: float, fill: str, pixels: Pixels) -> None:
        self.share = share
        self.fill = fill
        self.pixels = pixels

    @abstractmethod
    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """[count, 2, 3], B and s of each sample, the last column being s."""

    def drawn(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """[n, 2, 3], those of a batch [n, c, h, w], with no change for samples that are not chosen."""
        which = chosen(inputs, self.share, generator)
        height, width = inputs.shape[2:]
        motions = self.draw(len(inputs), height, width, generator)
        return motions if which is None else torch.where(which.view(-1, 1, 1), motions, _identity(motions))

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return moved(inputs, self.drawn(inputs, generator), self.fill, self.pixels), targets


class Flip(Motion):
    """Mirrors images along one axis: -1 from left to right, -2 upside down; exact where it stands alone."""

    def __init__(self, axis: int, share: float, pixels: Pixels) -> None:
        super().__init__(share, "black", pixels)
        self.axis = axis

    @override
    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        sides = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0) if self.axis == -1 else (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
        return constant(sides, generator.device).view(2, 3).expand(count, 2, 3)

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return where_chosen(chosen(inputs, self.share, generator), inputs.flip(self.axis), inputs), targets


class Rotation(Motion):
    """Turns by an angle between −`degrees` and `degrees`, in the plane of the picture."""

    def __init__(self, degrees: float, share: float, fill: str, pixels: Pixels) -> None:
        super().__init__(share, fill, pixels)
        self.radians = math.radians(degrees)

    @override
    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        angle = uniform(count, -self.radians, self.radians, generator)
        cosine, sine = angle.cos(), angle.sin()
        nothing = torch.zeros_like(angle)
        return torch.stack((cosine, sine, nothing, -sine, cosine, nothing), dim=1).view(count, 2, 3)


class Zoom(Motion):
    """Makes what is seen larger or smaller by a factor between `smallest` and `largest`."""

    def __init__(self, smallest: float, largest: float, share: float, fill: str, pixels: Pixels) -> None:
        super().__init__(share, fill, pixels)
        self.smallest = smallest
        self.largest = largest

    @override
    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        inverse = uniform(count, self.smallest, self.largest, generator).reciprocal()
        return inverse.view(-1, 1, 1) * torch.eye(2, 3, device=generator.device)


class Translation(Motion):
    """Moves by up to `amount` of the width and, by a draw of its own, of the height."""

    def __init__(self, amount: float, share: float, fill: str, pixels: Pixels) -> None:
        super().__init__(share, fill, pixels)
        self.amount = amount

    @override
    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        draws = uniform(2 * count, -self.amount, self.amount, generator).view(count, 2, 1)
        size = constant((float(width), float(height)), generator.device).view(2, 1)
        return torch.cat((torch.eye(2, device=generator.device).expand(count, 2, 2), draws * size), dim=2)


class Shear(Motion):
    """Slants: each row is moved by its distance from the middle times the tangent of an angle up to `degrees`.

    The columns are moved so as well, by an angle of their own.
    """

    def __init__(self, degrees: float, share: float, fill: str, pixels: Pixels) -> None:
        super().__init__(share, fill, pixels)
        self.radians = math.radians(degrees)

    @override
    def draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        slopes = uniform(2 * count, -self.radians, self.radians, generator).tan().view(count, 2)
        motions = torch.eye(2, 3, device=generator.device).repeat(count, 1, 1)
        motions[:, 0, 1], motions[:, 1, 0] = slopes[:, 0], slopes[:, 1]
        return motions


class Motions(Transform):
    """Several in one resampling, of the fill of the last that has one; flips take whatever the others have."""

    def __init__(self, steps: Sequence[Motion]) -> None:
        self.steps = tuple(steps)
        self.fill = next((step.fill for step in steps if not isinstance(step, Flip)), "black")
        self.pixels = steps[0].pixels

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        first, *others = (step.drawn(inputs, generator) for step in self.steps)
        for motions in others:
            first = after(first, motions)
        return moved(inputs, first, self.fill, self.pixels), targets


def after(first: Tensor, second: Tensor) -> Tensor:
    """[n, 2, 3], the motions `second` [n, 2, 3] of what the motions `first` [n, 2, 3] gave."""
    product = first[:, :, :2] @ second
    product[:, :, 2] += first[:, :, 2]
    return product


def moved(inputs: Tensor, motions: Tensor, fill: str, pixels: Pixels) -> Tensor:
    """Images [n, c, h, w] changed by motions [n, 2, 3], with values between pixels by bilinear interpolation."""
    count, channels, height, width = inputs.shape
    # torch measures places in halves of the width and the height.
    to_halves = constant((2 / width, 2 / height), inputs.device).view(2, 1)
    from_halves = constant((width / 2, height / 2, 1.0), inputs.device)
    theta = motions * to_halves * from_halves
    grid = F.affine_grid(theta, [count, channels, height, width], align_corners=False)
    if fill != "black":
        return F.grid_sample(inputs, grid, padding_mode=FILLS[fill], align_corners=False)
    values = F.grid_sample(pixels.above_black(inputs), grid, padding_mode="zeros", align_corners=False)
    return pixels.from_black(values)


def _identity(motions: Tensor) -> Tensor:
    return torch.eye(2, 3, device=motions.device)


def combine(steps: Sequence[Transform]) -> list[Transform]:
    """The same changes, motions that follow each other in one: flips with any, others with those of the same fill."""
    combined: list[Transform] = []
    waiting: list[Motion] = []

    def close() -> None:
        if all(isinstance(step, Flip) for step in waiting):
            combined.extend(waiting)  # exact, and faster
        else:
            combined.append(Motions(waiting) if len(waiting) > 1 else waiting[0])
        waiting.clear()

    for step in steps:
        fills = {other.fill for other in waiting if not isinstance(other, Flip)}
        if not isinstance(step, Motion) or not (isinstance(step, Flip) or fills <= {step.fill}):
            close()
        if isinstance(step, Motion):
            waiting.append(step)
        else:
            combined.append(step)
    close()
    return combined
