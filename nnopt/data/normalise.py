"""Bring inputs to a common scale: x' = (x - shift) / scale, fitted on the training rows alone.

Shift and scale have one value a feature of a table, or a channel of an image. They are computed in numpy
(one thread, float64), so they do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnopt.data.raw import Array
from nnopt.data.reading import Rows, in_chunks

_ROUNDING = 1e-12  # of a mean in float64


@dataclass(frozen=True, eq=False)
class Scaling:
    """x' = (x - shift) / scale.

    Attributes:
        shift: [c] float64, one value a feature or channel.
        scale: [c] float64, none of them zero.
    """

    shift: Array
    scale: Array

    def apply(self, values: Array) -> Tensor:
        """`values` [n, c, ...] scaled, as a new float32 tensor of the same shape."""
        # Bytes fit float32 exactly; tables are scaled in their own float64 and rounded once.
        dtype = np.float32 if values.dtype == np.uint8 else np.float64
        scaled = values.astype(dtype)
        shape = (-1, *([1] * (values.ndim - 2)))
        if self.shift.any():
            np.subtract(scaled, self.shift.astype(dtype).reshape(shape), out=scaled)
        if (self.scale != 1).any():
            np.divide(scaled, self.scale.astype(dtype).reshape(shape), out=scaled)
        return torch.from_numpy(scaled.astype(np.float32, copy=False))

    def but(self, unscaled: Array | None) -> Scaling:
        """The same, but for the columns that `unscaled` [c] marks: these stay as they are."""
        if unscaled is None:
            return self
        return Scaling(np.where(unscaled, 0.0, self.shift), np.where(unscaled, 1.0, self.scale))


def fit_none(inputs: Array | Rows, largest: float | None = None) -> Scaling:
    """Leave the values as they are."""
    return Scaling(np.zeros(inputs.shape[1]), np.ones(inputs.shape[1]))


def fit_unit(inputs: Array | Rows, largest: float | None = None) -> Scaling:
    """Bring values to [0, 1]: x / largest, or (x - min) / (max - min) where there is no largest value.

    Args:
        inputs: [n, c, ...], the training rows.
        largest: the largest value that an input can take.
    """
    if largest is not None:
        return Scaling(np.zeros(inputs.shape[1]), np.full(inputs.shape[1], float(largest)))
    axes = _all_but_columns(inputs)
    low, high = np.full(inputs.shape[1], np.inf), np.full(inputs.shape[1], -np.inf)
    for chunk in in_chunks(inputs):
        low, high = np.minimum(low, chunk.min(axes)), np.maximum(high, chunk.max(axes))
    return Scaling(low, _never_zero(high - low))


def fit_standard(inputs: Array | Rows, largest: float | None = None) -> Scaling:
    """Bring values to mean 0 and standard deviation 1: (x - mean) / sd, sd with the divisor n.

    Args:
        inputs: [n, c, ...], the training rows.
        largest: not needed here.
    """
    axes = _all_but_columns(inputs)
    each = math.prod(inputs.shape) / inputs.shape[1]
    mean = sum(chunk.sum(axes, dtype=np.float64) for chunk in in_chunks(inputs)) / each
    centre = mean.reshape(-1, *([1] * (len(inputs.shape) - 2)))
    variance = sum(np.square(chunk - centre).sum(axes) for chunk in in_chunks(inputs)) / each
    # The mean of equal values is theirs but for rounding, which is no spread.
    spread = np.sqrt(variance)
    return Scaling(mean, _never_zero(np.where(spread > _ROUNDING * np.abs(mean), spread, 0.0)))


FITS: Mapping[str, Callable[[Array | Rows, float | None], Scaling]] = {
    "unit": fit_unit,
    "standard": fit_standard,
    "none": fit_none,
}


def _all_but_columns(inputs: Array | Rows) -> tuple[int, ...]:
    return (0, *range(2, len(inputs.shape)))


def _never_zero(scale: Array) -> Array:
    """A column that never changes is shifted to 0 and divided by 1."""
    return np.where(scale > 0, scale, 1.0)
