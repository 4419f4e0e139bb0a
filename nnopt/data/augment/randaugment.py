"""RandAugment: a few changes of images, drawn from a list, all of one strength (Cubuk et al. 2019)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.data.augment.colour import Change, brighter, contrasted, saturated
from nnopt.data.augment.geometry import moved
from nnopt.data.augment.pixels import Pixels
from nnopt.data.augment.transform import Transform

STRENGTHS = 30  # the strongest change
_LEVELS = 256  # of a pixel, for changes that are defined by them


def autocontrasted(images: Tensor) -> Tensor:
    """Each channel of each image stretched so that its darkest pixel is 0 and its brightest 1; flat ones stay."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) / torch.where(high > low, high - low, torch.ones_like(high))
    return torch.where(high > low, stretched, images)


def equalised(images: Tensor) -> Tensor:
    """Levels spread so that each is as frequent as the others, a channel by itself, as Pillow's ImageOps.equalize."""
    levels = (images * (_LEVELS - 1)).round().long().clamp(0, _LEVELS - 1).flatten(2)
    counts = torch.zeros(*levels.shape[:2], _LEVELS, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    of_brightest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - of_brightest) // (_LEVELS - 1)
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=_LEVELS - 1)
    spread = table.gather(2, levels).view(images.shape).to(images.dtype) / (_LEVELS - 1)
    return torch.where(step[..., None] > 0, spread, images)


def solarised(images: Tensor, thresholds: Tensor) -> Tensor:
    """Pixels from a brightness on are inverted; `thresholds` [n]."""
    return torch.where(images >= thresholds.view(-1, 1, 1, 1), 1 - images, images)


def posterised(images: Tensor, bits: Tensor) -> Tensor:
    """Only the first of the 8 bits of each level are kept; `bits` [n] counts them."""
    size = torch.exp2(8 - bits).view(-1, 1, 1, 1)
    levels = (images * (_LEVELS - 1)).round()
    return (levels / size).floor() * size / (_LEVELS - 1)


def sharpened(images: Tensor, factors: Tensor) -> Tensor:
    """Away from the image smoothed over 3x3 pixels, the middle counting five times; the outermost pixels stay."""
    channels = images.shape[1]
    kernel = torch.ones(channels, 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = 5
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel / 13, groups=channels)
    weights = factors.view(-1, 1, 1, 1)
    return (images * weights + smooth * (1 - weights)).clamp(0, 1)


class RandAugment(Transform):
    """`operations` changes of each image one after the other, each drawn from fourteen, of one strength.

    The strengths are those of torchvision, whose table covers the paper's: a shear of up to 0.3, a move of up to
    150/331 of the size, a rotation of up to 30°, brightness, contrast, saturation and sharpness within 1 ± 0.9, 8 down
    to 4 bits, inversion from white down to black on; the sign of those that have one is drawn. Shears leave the middle
    where it is, and pixels from beyond the edge are black.
    """

    def __init__(self, operations: int, strength: float, pixels: Pixels, shape: tuple[int, ...]) -> None:
        self.operations = operations
        self.strength = strength / STRENGTHS
        self.pixels = pixels
        self.changes = self._changes(*shape)
        self._on_brightness = Pixels(torch.zeros_like(pixels.black), torch.ones_like(pixels.span), True, True)

    def _changes(self, channels: int, height: int, width: int) -> list[Change]:
        """The fourteen, each taking a strength between -1 and 1 for every image."""

        def motion(row: int, column: int, most: float) -> Change:
            def change(images: Tensor, strengths: Tensor) -> Tensor:
                motions = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
                motions[:, row, column] += strengths * most
                return self._move(images, motions)

            return change

        def rotation(images: Tensor, strengths: Tensor) -> Tensor:
            angles = strengths * math.radians(30)
            cosine, sine, nothing = angles.cos(), angles.sin(), torch.zeros_like(angles)
            rows = torch.stack((cosine, sine, nothing, -sine, cosine, nothing), dim=1)
            return self._move(images, rows.view(-1, 2, 3))

        coloured: list[Change] = [brighter, contrasted, sharpened]
        # Of grey there is no colour to change: the place in the list stays.
        coloured.append(saturated if channels == 3 else lambda images, _: images)
        return [
            lambda images, _: images,
            lambda images, _: autocontrasted(images),
            lambda images, _: equalised(images),
            lambda images, strengths: solarised(images, 1 - strengths.abs()),
            lambda images, strengths: posterised(images, 8 - (4 * strengths.abs()).round()),
            *(_around_one(change) for change in coloured),
            rotation,
            motion(0, 1, 0.3),
            motion(1, 0, 0.3),
            motion(0, 2, 150 / 331 * width),
            motion(1, 2, 150 / 331 * height),
        ]

    def _move(self, images: Tensor, motions: Tensor) -> Tensor:
        return moved(images, motions, "black", self._on_brightness)

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        count, device = len(inputs), inputs.device
        images = self.pixels.brightness(inputs)
        for _ in range(self.operations):
            drawn = torch.randint(len(self.changes), (count,), generator=generator, device=device)
            signs = torch.randint(2, (count,), generator=generator, device=device) * 2 - 1
            strengths = signs * self.strength
            counts = torch.bincount(drawn, minlength=len(self.changes)).tolist()
            changed = torch.empty_like(images)
            for change, rows in zip(self.changes, torch.split(drawn.argsort(), counts), strict=True):
                if len(rows):
                    changed[rows] = change(images[rows], strengths[rows])
            images = changed
        return self.pixels.inputs(images), targets


def _around_one(change: Change) -> Change:
    return lambda images, strengths: change(images, 1 + 0.9 * strengths)
