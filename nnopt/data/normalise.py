"""Bring inputs to a common scale: x' = (x - shift) / scale, fitted on the training rows alone.

Shift and scale have one value a feature of a table, or a channel of an image. They are computed in numpy
(one thread, float64), so they do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnopt.data.raw import Array

_ROWS_AT_ONCE = 1024  # bounds the float64 copy of a large image set


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


def fit_none(inputs: Array, largest: float | None = None) -> Scaling:
    """Leave the values as they are."""
    return Scaling(np.zeros(inputs.shape[1]), np.ones(inputs.shape[1]))


def fit_unit(inputs: Array, largest: float | None = None) -> Scaling:
    """Bring values to [0, 1]: x / largest, or (x - min) / (max - min) where there is no largest value.

    Args:
        inputs: [n, c, ...], the training rows.
        largest: the largest value that an input can take.
    """
    if largest is not None:
        return Scaling(np.zeros(inputs.shape[1]), np.full(inputs.shape[1], float(largest)))
    axes = _all_but_columns(inputs)
    low, high = inputs.min(axes).astype(np.float64), inputs.max(axes).astype(np.float64)
    return Scaling(low, _never_zero(high - low))


def fit_standard(inputs: Array, largest: float | None = None) -> Scaling:
    """Bring values to mean 0 and standard deviation 1: (x - mean) / sd, sd with the divisor n.

    Args:
        inputs: [n, c, ...], the training rows.
        largest: not needed here.
    """
    axes = _all_but_columns(inputs)
    each = inputs.size / inputs.shape[1]
    chunks = [inputs[start : start + _ROWS_AT_ONCE] for start in range(0, len(inputs), _ROWS_AT_ONCE)]
    mean = sum(chunk.sum(axes, dtype=np.float64) for chunk in chunks) / each
    centre = mean.reshape(-1, *([1] * (inputs.ndim - 2)))
    variance = sum(np.square(chunk - centre).sum(axes) for chunk in chunks) / each
    return Scaling(mean, _never_zero(np.sqrt(variance)))


FITS: Mapping[str, Callable[[Array, float | None], Scaling]] = {
    "unit": fit_unit,
    "standard": fit_standard,
    "none": fit_none,
}


def _all_but_columns(inputs: Array) -> tuple[int, ...]:
    return (0, *range(2, inputs.ndim))


def _never_zero(scale: Array) -> Array:
    """A column that never changes is shifted to 0 and divided by 1."""
    return np.where(scale > 0, scale, 1.0)
