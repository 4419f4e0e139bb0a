"""All optimizers but those that wrap another: a new family joins here."""

from __future__ import annotations

from nnopt.spec.optimizers import curvature, modern, of_torch, schedule_free, second_order, self_tuning, textbook
from nnopt.spec.optimizers.base import AnyOptimizerSpec

SINGLE: tuple[type[AnyOptimizerSpec], ...] = (
    *textbook.MEMBERS,
    *of_torch.MEMBERS,
    *modern.MEMBERS,
    *curvature.MEMBERS,
    *schedule_free.MEMBERS,
    *self_tuning.MEMBERS,
    *second_order.MEMBERS,
)
