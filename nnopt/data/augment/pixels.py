"""Which values black and white have among the inputs of a data set, whose normalisation shifts and scales them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnopt.data.dataset import Dataset

_LOOKED_AT = 1000  # training samples whose range is taken where the source does not say it


@dataclass(frozen=True, eq=False)
class Pixels:
    """What the ends of the range of pixels became.

    Attributes:
        black: [1, channels, 1, 1], the inputs of a black pixel.
        span: [1, channels, 1, 1], how far white lies above it, above 0.
        is_zero: whether black is 0 in every channel.
        is_unit: whether, besides, white is 1 in every channel.
    """

    black: Tensor
    span: Tensor
    is_zero: bool
    is_unit: bool

    @classmethod
    def of(cls, data: Dataset) -> Pixels:
        """Those of a data set of images; the range of the first 1,000 training samples where no other is known."""
        if data.pixel_range is None:
            seen = data.train.first(_LOOKED_AT)  # [n, c, h, w]
            black, white = seen.amin((0, 2, 3)), seen.amax((0, 2, 3))
        else:
            black, white = data.pixel_range
        black, span = black.view(1, -1, 1, 1), (white - black).view(1, -1, 1, 1)
        span = torch.where(span > 0, span, torch.ones_like(span))
        is_zero = not bool(black.any())
        return cls(black, span, is_zero, is_zero and bool((span == 1).all()))

    def above_black(self, inputs: Tensor) -> Tensor:
        """`inputs` [n, c, h, w] with black at 0."""
        return inputs if self.is_zero else inputs - self.black

    def from_black(self, values: Tensor) -> Tensor:
        """The inverse of `above_black`."""
        return values if self.is_zero else values + self.black

    def brightness(self, inputs: Tensor) -> Tensor:
        """`inputs` [n, c, h, w] with black at 0 and white at 1."""
        return inputs if self.is_unit else (inputs - self.black) / self.span

    def inputs(self, brightness: Tensor) -> Tensor:
        """The inverse of `brightness`."""
        return brightness if self.is_unit else brightness * self.span + self.black
