"""Metrics of real-valued targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss
from nnopt.metrics.tally import Tally

_ROUNDING = 1e-6  # of standardised targets in 32 bits, with room


class RegressionTally(Tally):
    """Sums of errors and of targets, a target column each.

    Outputs and targets are standardised; `scale` (a number, or [d]) is what one unit of them is in the data, and
    `mean` the value there that they are 0 at.
    """

    def __init__(
        self,
        names: Sequence[str],
        loss: Loss,
        scale: Tensor | float,
        mean: Tensor | float,
        device: torch.device | str,
    ) -> None:
        super().__init__(names, loss, device)
        self._scale = torch.as_tensor(scale, dtype=self._dtype, device=device)
        self._mean = torch.as_tensor(mean, dtype=self._dtype, device=device)
        zero = torch.zeros((), dtype=self._dtype, device=device)
        self._squares, self._absolutes, self._targets, self._target_squares = zero, zero, zero, zero
        self._shares_wanted = "mape" in self.names
        self._shares, self._not_zero = zero, zero

    @override
    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        targets = targets.to(self._dtype)
        errors = outputs.to(self._dtype) - targets
        self._squares = self._squares + errors.square().sum(0)
        self._absolutes = self._absolutes + errors.abs().sum(0)
        self._targets = self._targets + targets.sum(0)
        self._target_squares = self._target_squares + targets.square().sum(0)
        if self._shares_wanted:
            deviations = targets * self._scale
            values = deviations + self._mean
            counts = values.abs() > _ROUNDING * (deviations.abs() + self._mean.abs())
            shares = (errors * self._scale / torch.where(counts, values, 1.0)).abs()
            self._shares = self._shares + (shares * counts).sum(0)
            self._not_zero = self._not_zero + counts.sum(0)

    @override
    def _values(self) -> dict[str, float]:
        mse = (self._squares * self._scale.square()).mean() / self.samples
        mae = (self._absolutes * self._scale).mean() / self.samples
        spread = self._target_squares - self._targets.square() / self.samples  # Σ(t − mean t)²
        constant = spread <= 1000 * torch.finfo(self._dtype).eps * self._target_squares
        r2 = torch.where(constant, (self._squares == 0).to(self._dtype), 1 - self._squares / spread)
        return {"mse": float(mse), "mae": float(mae), "r2": float(r2.mean()), **self._percentages()}

    def _percentages(self) -> dict[str, float]:
        if not self._shares_wanted:
            return {}
        known = self._not_zero > 0
        return {"mape": float((self._shares / self._not_zero)[known].mean()) if bool(known.any()) else float("inf")}
