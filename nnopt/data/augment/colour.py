"""Brightness, contrast and colours of images [n, c, h, w] with black at 0 and white at 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.augment.pixels import Pixels
from nnopt.data.augment.transform import Transform, chosen, constant, uniform, where_chosen

# Images [n, c, h, w] with black at 0 and white at 1, and how much each is to change [n]: the changed images.
Change = Callable[[Tensor, Tensor], Tensor]

# Shares of red, green and blue in brightness (ITU-R BT.601).
_GREY = (0.299, 0.587, 0.114)


def grey(images: Tensor) -> Tensor:
    """[n, 1, h, w], how bright each pixel is; the mean of channels that are not three."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * constant(_GREY, images.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def blend(images: Tensor, others: Tensor | float, factors: Tensor) -> Tensor:
    """Away from `others` by `factors` [n]: 0 gives the others, 1 the images, more exaggerates; cut to 0 ... 1."""
    weights = factors.view(-1, 1, 1, 1)
    return (images * weights + others * (1 - weights)).clamp(0, 1)


def brighter(images: Tensor, factors: Tensor) -> Tensor:
    """Away from black."""
    return blend(images, 0.0, factors)


def contrasted(images: Tensor, factors: Tensor) -> Tensor:
    """Away from the image's mean brightness."""
    return blend(images, grey(images).mean((1, 2, 3), keepdim=True), factors)


def saturated(images: Tensor, factors: Tensor) -> Tensor:
    """Away from the image in grey."""
    return blend(images, grey(images), factors)


def hues_turned(images: Tensor, turns: Tensor) -> Tensor:
    """Colours of images [n, 3, h, w] go on along the circle of hues by `turns` [n], 1 being all around."""
    largest, smallest = images.amax(1), images.amin(1)  # [n, h, w]
    spread = largest - smallest
    divisor = torch.where(spread > 0, spread, torch.ones_like(spread))
    red, green, blue = ((largest - images[:, channel]) / divisor for channel in range(3))
    sixths = torch.where(
        images[:, 0] == largest,
        blue - green,
        torch.where(images[:, 1] == largest, 2 + red - blue, 4 + green - red),
    )
    sixths = torch.remainder(sixths + 6 * turns.view(-1, 1, 1), 6)
    # A channel is at its largest up to one sixth from its own hue, and at its smallest from two sixths on.
    channels = [((torch.remainder(sixths - own + 3, 6) - 3).abs() - 1).clamp(0, 1) for own in (0.0, 2.0, 4.0)]
    return largest[:, None] - spread[:, None] * torch.stack(channels, dim=1)


class ColourJitter(Transform):
    """Brightness, contrast, saturation, then hue, each changed by a factor within 1 ± its amount, the hue by ± that."""

    def __init__(
        self, brightness: float, contrast: float, saturation: float, hue: float, share: float, pixels: Pixels
    ) -> None:
        factors: tuple[tuple[Change, float], ...] = (
            (brighter, brightness),
            (contrasted, contrast),
            (saturated, saturation),
        )
        self.steps = [(change, max(0.0, 1 - by), 1 + by) for change, by in factors if by]
        self.steps += [(hues_turned, -hue, hue)] if hue else []
        self.share = share
        self.pixels = pixels

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        which = chosen(inputs, self.share, generator)
        images = self.pixels.brightness(inputs)
        for change, low, high in self.steps:
            images = change(images, uniform(len(images), low, high, generator))
        return where_chosen(which, self.pixels.inputs(images), inputs), targets
