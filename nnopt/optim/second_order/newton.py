"""Newton's method with the whole Hessian, for models of few parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from nnopt.optim.objective import Smooth
from nnopt.optim.parameters import Parameters
from nnopt.optim.second_order.products import Hessian
from nnopt.optim.second_order.stepping import SecondOrder

__all__ = ["Newton"]

# Rows of the Hessian at a time, by the size of the batch: each takes the memory of a backward pass.
ROWS, ROWS_OF_LARGE, LARGE = 64, 8, 2**17


@final
class Newton(SecondOrder):
    """p = −Σ vᵢ(vᵢ·g)/(max(|hᵢ|, δ) + λ), hᵢ and vᵢ the Hessian's eigenvalues and eigenvectors, δ their rounding.

    With |hᵢ| the step leads down along directions in which the objective bends down, so that saddle points are left
    (Nocedal & Wright 2006, section 3.4; Dauphin et al. 2014, arXiv:1406.2572). Where both hᵢ and vᵢ·g are rounding, as
    where parameters have no part in the objective, it does not step: their quotient could be anything.
    """

    def __init__(self, parameters: Parameters, *, damping: float, searches: bool) -> None:
        super().__init__(parameters, "newton", damping, searches)

    def solve(self, smooth: Smooth, values: Sequence[Tensor], gradient: Tensor, damping: float) -> tuple[Tensor, float]:
        """As the base class says."""
        matrix = Hessian(smooth, values).rows(ROWS if smooth.inputs.numel() <= LARGE else ROWS_OF_LARGE)
        if not bool(matrix.isfinite().all()):
            return gradient * torch.nan, 0.0
        rounding = len(gradient) * torch.finfo(gradient.dtype).eps
        place = torch.device("cpu") if gradient.device.type == "mps" else gradient.device  # which has no float64
        wide = matrix.to(place, torch.float64)
        bends, ways = torch.linalg.eigh((wide + wide.T) / 2)
        bends = bends.abs()
        highest = float(bends.max())
        bends = bends.clamp_min(highest * rounding) if highest > 0 else torch.ones_like(bends)
        slopes = ways.T @ gradient.to(place, torch.float64)
        slopes[(bends <= highest * rounding) & (slopes.abs() <= float(gradient.norm()) * rounding)] = 0.0
        along = -slopes / (bends + damping)
        curvature = float((bends * along.square()).sum())
        return (ways @ along).to(gradient), curvature
