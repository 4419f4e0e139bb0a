"""Noise, blur, and squares that are cut out."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.data.augment.pixels import Pixels
from nnopt.data.augment.transform import Transform, chosen, uniform, where_chosen


class Noise(Transform):
    """Adds a normal variable of standard deviation `std` to every value of the inputs as they are scaled."""

    def __init__(self, std: float, share: float) -> None:
        self.std = std
        self.share = share

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        which = chosen(inputs, self.share, generator)
        draws = torch.randn(inputs.shape, generator=generator, device=inputs.device)
        return where_chosen(which, torch.add(inputs, draws, alpha=self.std), inputs), targets


class Blur(Transform):
    """Weights neighbours by exp(−d²/2σ²), σ between `smallest` and `largest` pixels; the edge goes on outwards."""

    def __init__(self, smallest: float, largest: float, share: float) -> None:
        self.smallest = smallest
        self.largest = largest
        self.share = share
        self.reach = math.ceil(3 * largest)

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        which = chosen(inputs, self.share, generator)
        sigma = uniform(len(inputs), self.smallest, self.largest, generator)
        return where_chosen(which, blurred(inputs, sigma, self.reach), inputs), targets


def blurred(inputs: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Images [n, c, h, w] blurred by `sigma` [n] pixels, neighbours up to `reach` pixels away counted in."""
    count, channels, height, width = inputs.shape
    distances = torch.arange(-reach, reach + 1, device=inputs.device)
    weights = torch.exp(-0.5 * (distances / sigma[:, None]).square())
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # [n·c, 2·reach + 1]
    flat = inputs.reshape(1, count * channels, height, width)
    flat = F.pad(flat, [reach, reach, reach, reach], mode="replicate")
    flat = F.conv2d(flat, weights[:, None, None, :], groups=count * channels)
    flat = F.conv2d(flat, weights[:, None, :, None], groups=count * channels)
    return flat.view(inputs.shape)


class Cutout(Transform):
    """Blackens a square of `size` pixels around any pixel of the image; what lies outside is lost (DeVries 2017)."""

    def __init__(self, size: int, share: float, pixels: Pixels) -> None:
        self.size = size
        self.share = share
        self.pixels = pixels

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        height, width = inputs.shape[2:]
        which = chosen(inputs, self.share, generator)
        draws = torch.rand(2, len(inputs), generator=generator, device=inputs.device)
        top = (draws[0] * height).floor() - self.size // 2
        left = (draws[1] * width).floor() - self.size // 2
        hidden = inside(height, width, top, left, top + self.size, left + self.size)
        return torch.where(hidden if which is None else hidden & which, self.pixels.black, inputs), targets


def inside(height: int, width: int, top: Tensor, left: Tensor, bottom: Tensor, right: Tensor) -> Tensor:
    """[n, 1, height, width], which pixels lie in a rectangle a sample, from `top`, `left` to before `bottom`, `right`.

    The sides are [n].
    """
    rows, columns = torch.arange(height, device=top.device), torch.arange(width, device=top.device)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])  # [n, h]
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])  # [n, w]
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
