"""Vectors that stand for tokens, and where a token stands, told to attention by turning what it compares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override


def vectors(count: int, width: int) -> nn.Embedding:
    """A trainable vector of `width` numbers for each of `count` things, their values still to be set."""
    # nn.Embedding would draw normal numbers: on the meta device that imports torch's compiler, seconds at every start.
    return nn.Embedding.from_pretrained(torch.empty(count, width), freeze=False)  # type: ignore[no-untyped-call,no-any-return]


class Rotation(nn.Module):
    """Rotary positions: pair j of a query or key at place p is turned by the angle p · 10000^(−2j/d).

    The product of a query and a key then depends on how far apart they stand, and on nothing else of their places.
    Su et al. 2021, arXiv:2104.09864; the pairs are (j, j + d/2), as in most programs.

    Args:
        width: d, of a head; even.
        context: the most places.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        rates = 10_000.0 ** (-np.arange(0, width, 2) / width)
        angles = np.tile(np.outer(np.arange(context), rates), 2)  # [context, width]
        sign = np.where(np.arange(width) < width // 2, -1.0, 1.0)
        # A function of the sizes: no part of what is saved.
        self.register_buffer("cosine", torch.from_numpy(np.cos(angles)).float(), persistent=False)
        self.register_buffer("sine", torch.from_numpy(np.sin(angles) * sign).float(), persistent=False)

    @override
    def forward(self, values: Tensor) -> Tensor:
        """Queries or keys [n, heads, length, width], turned."""
        length = values.shape[2]
        swapped = torch.roll(values, values.shape[3] // 2, dims=3)
        turned = values * self.cosine[:length] + swapped * self.sine[:length]
        return turned.to(values.dtype)
