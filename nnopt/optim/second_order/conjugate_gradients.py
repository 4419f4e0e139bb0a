"""Conjugate gradients that stop early: when the step is good enough, or where the objective bends down."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["truncated"]


def truncated(
    product: Callable[[Tensor], Tensor], gradient: Tensor, damping: float, tolerance: float, limit: int
) -> tuple[Tensor, Tensor]:
    """A step p with (B + λI)p ≈ −g, and Bp, both [count].

    It stops where ‖(B + λI)p + g‖ ≤ min(tolerance, √‖g‖)·‖g‖, after `limit` products, or where it meets a direction d
    with dᵀ(B + λI)d ≤ 0: with what it has by then, and if that is nothing, with a step down −g as long as Newton's
    would be were the curvature of the other sign (Nocedal & Wright 2006, Algorithm 7.1, where −g has no length of its
    own).

    Args:
        product: B times a vector.
        gradient: g.
        damping: λ.
        tolerance: relative size of the residual that is enough.
        limit: the most products.
    """
    step, bent = torch.zeros_like(gradient), torch.zeros_like(gradient)
    residual, way = gradient.clone(), -gradient
    squared = float(residual @ residual)
    norm = squared**0.5
    enough = min(tolerance, norm**0.5) * norm
    for turn in range(limit):
        if squared == 0:
            break
        along = product(way)
        curvature = float(way @ along) + damping * float(way @ way)
        if not curvature > 0:
            if turn == 0:
                length = squared / -curvature if curvature < 0 else 1.0
                step, bent = way * length, along * length
            break
        length = squared / curvature
        step.add_(way, alpha=length)
        bent.add_(along, alpha=length)
        residual.add_(along, alpha=length).add_(way, alpha=length * damping)
        before, squared = squared, float(residual @ residual)
        if not squared**0.5 > enough:
            break
        way.mul_(squared / before).sub_(residual)
    return step, bent
