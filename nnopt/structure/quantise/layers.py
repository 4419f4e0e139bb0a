"""Layers that train with the rounding to int8 in sight, and layers that are int8.

Both are layers of torch's own kinds, of which an existing layer becomes one in place: its name, its parameters and
whoever watches it stay. A quantised layer has int8 whole numbers as `weight` and their scales, one for each output, as
`weight_scale`: plain tensors, so that a file of them is read without torchao.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnopt.structure.quantise.kernels import int8_weights, scaled_product
from nnopt.structure.quantise.rounding import rounded, scales_of, whole_numbers


def within_rows(tensor: Tensor) -> range:
    """The axes of weights [outputs, ...], or of a convolution's inputs [n, ...], that lie within a row."""
    return range(1, tensor.dim())


def _convolve_rounded(self: Any, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    """[n, channels, ...] -> [n, outputs, ...]."""
    values = rounded(input, within_rows(input)) if self.dynamic else input
    outputs: Tensor = self._conv_forward(values, rounded(self.weight, within_rows(self.weight)), self.bias)
    return outputs


def _convolve_quantised(self: Any, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    """[n, channels, ...] -> [n, outputs, ...], fp32."""
    outputs: Tensor
    with torch.autocast(input.device.type, enabled=False):
        values = input.float()
        if not self.dynamic:
            outputs = self._conv_forward(values, self.weight * self.weight_scale, self.bias)
            return outputs
        # torchao multiplies no whole numbers for convolutions. In fp32 their sums are exact up to 2²⁴, which takes
        # 1,024 of the largest products.
        scales = scales_of(values, within_rows(values))
        outputs = self._conv_forward(whole_numbers(values, scales), self.weight.float(), None)
        of_channels = (1, -1, *scales.shape[2:])
        outputs = outputs * (scales * self.weight_scale.reshape(of_channels))
        return outputs if self.bias is None else outputs + self.bias.reshape(of_channels)


class RoundedLinear(nn.Linear):
    """Computes with rounded weights, and rounded inputs where `dynamic`."""

    dynamic: bool

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """[..., inputs] -> [..., outputs]."""
        values = rounded(input, (-1,)) if self.dynamic else input
        return F.linear(values, rounded(self.weight, within_rows(self.weight)), self.bias)


class RoundedConv1d(nn.Conv1d):
    """As RoundedLinear; a row of inputs is a sample."""

    forward = _convolve_rounded


class RoundedConv2d(nn.Conv2d):
    """As RoundedLinear; a row of inputs is a sample."""

    forward = _convolve_rounded


class RoundedConv3d(nn.Conv3d):
    """As RoundedLinear; a row of inputs is a sample."""

    forward = _convolve_rounded


class QuantisedLinear(nn.Linear):
    """y = s_w·(q_w·x) + b in fp32; where `dynamic`, s_x·s_w·(q_w·q_x) + b with torchao's product of whole numbers."""

    dynamic: bool
    weight_scale: Tensor

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """[..., inputs] -> [..., outputs], fp32."""
        with torch.autocast(input.device.type, enabled=False):
            values = input.float()
            if self.dynamic:
                rows = values.reshape(-1, self.in_features)
                scales = scales_of(rows, (-1,))
                numbers = whole_numbers(rows, scales).to(torch.int8)
                outputs = scaled_product(numbers, self.weight, scales).reshape(*values.shape[:-1], self.out_features)
            else:
                outputs = F.linear(values, self.weight.float())
            outputs = outputs * self.weight_scale.flatten()
            return outputs if self.bias is None else outputs + self.bias


class QuantisedConv1d(nn.Conv1d):
    """As QuantisedLinear; a row of inputs is a sample, and whole numbers are multiplied as fp32."""

    forward = _convolve_quantised


class QuantisedConv2d(nn.Conv2d):
    """As QuantisedLinear; a row of inputs is a sample, and whole numbers are multiplied as fp32."""

    forward = _convolve_quantised


class QuantisedConv3d(nn.Conv3d):
    """As QuantisedLinear; a row of inputs is a sample, and whole numbers are multiplied as fp32."""

    forward = _convolve_quantised


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: RoundedLinear,
    nn.Conv1d: RoundedConv1d,
    nn.Conv2d: RoundedConv2d,
    nn.Conv3d: RoundedConv3d,
}
QUANTISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: QuantisedLinear,
    nn.Conv1d: QuantisedConv1d,
    nn.Conv2d: QuantisedConv2d,
    nn.Conv3d: QuantisedConv3d,
}
PLAIN = {special: plain for kinds in (ROUNDED, QUANTISED) for plain, special in kinds.items()}


def become_rounded(layer: Any, dynamic: bool) -> None:
    """Makes a layer one that trains with the rounding in sight; it keeps its parameters."""
    layer.__class__ = ROUNDED[_plain_kind(layer)]
    layer.dynamic = dynamic


def become_quantised(layer: Any, dynamic: bool) -> None:
    """Makes a layer an int8 one, by its present weights."""
    if isinstance(layer, nn.Linear) and layer.in_features > 1:  # torchao fails where a row is a single number
        numbers, scales = int8_weights(layer)
    else:
        weights = layer.weight.detach()
        scales = scales_of(weights, within_rows(weights))
        numbers = whole_numbers(weights, scales).to(torch.int8)
    _become_int8(layer, dynamic, numbers, scales)


def become_unfilled(layer: Any, dynamic: bool) -> None:
    """Makes a layer an int8 one whose weights and scales are still to be loaded."""
    weights = layer.weight.detach()
    scales = weights.new_ones(len(weights), *(1 for _ in within_rows(weights)))
    _become_int8(layer, dynamic, torch.zeros_like(weights, dtype=torch.int8), scales)


def _become_int8(layer: Any, dynamic: bool, numbers: Tensor, scales: Tensor) -> None:
    layer.__class__ = QUANTISED[_plain_kind(layer)]
    layer.dynamic = dynamic
    layer.weight = nn.Parameter(numbers, requires_grad=False)
    layer.register_buffer("weight_scale", scales)


def _plain_kind(layer: nn.Module) -> type[nn.Module]:
    return PLAIN.get(type(layer), type(layer))
