"""What torchao does for linear layers: their weights in int8, and products of whole numbers.

It is imported where it is first needed, which takes more than a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from nnopt.quiet import quiet
from nnopt.structure.quantise.rounding import HIGHEST, LOWEST

# Importing it tells of extensions for other machines, and torch of how it registers its types.
LOGGERS = ("torchao", "torch.utils._pytree")

ROWS = 32  # of the product that shows whether there is a kernel: those of CUDA want more than 16


def int8_weights(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """The weights [outputs, inputs] as whole numbers, and their scales [outputs, 1]; 2 inputs or more."""
    with quiet(LOGGERS, {}):
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        alone = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
        alone.weight = nn.Parameter(layer.weight.detach(), requires_grad=False)
        quantize_(alone, Int8WeightOnlyConfig(set_inductor_config=False))
    found: Any = alone.weight
    return found.qdata, found.scale


def scaled_product(values: Tensor, weights: Tensor, scales: Tensor) -> Tensor:
    """values·weightsᵀ·scales in fp32: [n, k] and [m, k] of int8, [n, 1]; the sums are exact."""
    if values.shape[1] == 1:  # torch 2.13 answers at random on a CPU
        return scales * values.float() * weights.t().float()
    product: Tensor = _product_of_torchao()(values, weights.t(), scales)
    return product


@cache
def _product_of_torchao() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    with quiet(LOGGERS, {}):
        from torchao.kernel import int_scaled_matmul
    found: Callable[[Tensor, Tensor, Tensor], Tensor] = int_scaled_matmul
    return found


def has_product(device: torch.device, inputs: int, outputs: int) -> bool:
    """Whether `device` multiplies int8 numbers of a layer of this size, and without overflow.

    Some kernels want sizes that are multiples of 8, and some CPUs add pairs of products in 16 bits.
    """
    if inputs == 1:
        return True  # it is never asked for
    values = HIGHEST - torch.arange(ROWS, device=device) % 5
    weights = LOWEST + torch.arange(outputs, device=device) % 7
    rows, columns = (numbers.to(torch.int8)[:, None].expand(-1, inputs).contiguous() for numbers in (values, weights))
    try:
        found = torch._int_mm(rows, columns.t())
    except RuntimeError:  # as it is where torch has no such operation at all
        return False
    return bool((found == inputs * values[:, None] * weights).all())
