"""Loss scaling for fp16, kept on the device: nothing here waits for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

GROWTH, BACKOFF, INTERVAL = 2.0, 0.5, 2000  # torch.amp.GradScaler's constants
FIRST_SCALE = 2.0**16


class LossScaler:
    """Multiplies the loss so that small gradients survive fp16; halves the factor after an overflow.

    Micikevicius et al. 2018, Mixed Precision Training, arXiv:1710.03740. Same rule as torch.amp.GradScaler, with the
    verdict "all gradients finite" left on the device as a 0-dim bool. Its tensors stay where they are.
    """

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.full((), FIRST_SCALE, device=device)
        self.good_steps = torch.zeros((), device=device)
        self.all_finite = torch.ones((), dtype=torch.bool, device=device)

    def unscale(self, gradients: list[Tensor]) -> None:
        """Divides gradients by the scale in place and notes whether all are finite."""
        inverse = 1.0 / self.scale
        for gradient in gradients:
            gradient.mul_(inverse)
        self.all_finite.copy_(torch.stack([torch.isfinite(gradient).all() for gradient in gradients]).all())

    def finite(self) -> Tensor:
        """Whether the last gradients were all finite: 0-dim bool on the device."""
        return self.all_finite

    def update(self) -> None:
        """Adapts the scale after an update: grown after 2000 finite ones in a row, halved after an overflow."""
        good = torch.where(self.all_finite, self.good_steps + 1, torch.zeros_like(self.good_steps))
        due = good >= INTERVAL
        grown = self.scale * GROWTH
        grows = due & torch.isfinite(grown)
        self.scale.copy_(torch.where(self.all_finite, torch.where(grows, grown, self.scale), self.scale * BACKOFF))
        self.good_steps.copy_(torch.where(due, torch.zeros_like(good), good))

    def state_dict(self) -> dict[str, Any]:
        """Scale and the count of finite updates."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.scale.copy_(state["scale"])
        self.good_steps.copy_(state["good_steps"])
