"""How near a point has come to where a function is smallest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss
from nnopt.metrics.tally import Tally


class FunctionTally(Tally):
    """The mean over the rows of `distance`, which takes outputs [n, d] to how far each is from a minimum, [n]."""

    def __init__(
        self, names: Sequence[str], distance: Callable[[Tensor], Tensor], loss: Loss, device: torch.device | str
    ) -> None:
        super().__init__(names, loss, device)
        self._distance = distance
        self._distances = torch.zeros((), dtype=self._dtype, device=device)

    @override
    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        self._distances += self._distance(outputs.to(self._dtype)).sum()

    @override
    def _values(self) -> dict[str, float]:
        return {"distance": float(self._distances) / self.samples}
