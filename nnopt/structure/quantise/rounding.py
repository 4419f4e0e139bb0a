"""Numbers rounded to 8 bits with a scale for each row: of weights each output is a row, of inputs each sample.

s = max|x| / 127.5 of the row, q = round(x / s) within -128 ... 127, x ≈ s·q: bit for bit torchao's symmetric int8,
whose own rounding for training knows inputs only with a zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LOWEST, HIGHEST = -128, 127
HALF_RANGE = (HIGHEST - LOWEST) / 2
SMALLEST_SCALE = torch.finfo(torch.float32).eps


def scales_of(values: Tensor, dims: Sequence[int]) -> Tensor:
    """s of each row; `dims` are the axes within a row, which have length 1 in what is returned."""
    return (values.abs().amax(tuple(dims), keepdim=True) / HALF_RANGE).clamp(min=SMALLEST_SCALE)


def whole_numbers(values: Tensor, scales: Tensor) -> Tensor:
    """q, as numbers of the type of `values`."""
    return torch.round(values * (1.0 / scales)).clamp(LOWEST, HIGHEST)


class _Rounding(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, dims: tuple[int, ...]) -> Tensor:
        scales = scales_of(values, dims)
        return whole_numbers(values, scales) * scales

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        return slopes[0], None


def rounded(values: Tensor, dims: Sequence[int]) -> Tensor:
    """s·q in fp32; the gradient passes as if nothing had been rounded (Bengio et al. 2013, arXiv:1308.3432)."""
    result: Tensor = _Rounding.apply(values.float(), tuple(dims))  # type: ignore[no-untyped-call]
    return result
