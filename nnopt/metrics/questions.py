"""Metrics of several questions about one sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss
from nnopt.metrics.classes import ClassTally
from nnopt.metrics.tally import Tally


class QuestionTally(Tally):
    """The whole loss, and a tally of each question of its part of the outputs: `<question>_<metric>`.

    Args:
        names: the columns wanted.
        loss: the loss of all questions.
        tallies: those of each question by its name; each has the outputs and the target of its question alone.
        widths: how many outputs each has, in the same order.
        device: where outputs and targets lie.
    """

    def __init__(
        self,
        names: Sequence[str],
        loss: Loss,
        tallies: Mapping[str, Tally],
        widths: Sequence[int],
        device: torch.device | str,
    ) -> None:
        super().__init__(names, loss, device)
        self._tallies = dict(tallies)
        self._widths = list(widths)

    @override
    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        parts = torch.split(outputs, self._widths, dim=1)
        for column, (tally, part) in enumerate(zip(self._tallies.values(), parts, strict=True)):
            wanted = targets[:, column]
            tally.update(part, wanted.long() if isinstance(tally, ClassTally) else wanted[:, None])

    @override
    def _values(self) -> dict[str, float]:
        return {
            f"{question}_{name}": value
            for question, tally in self._tallies.items()
            for name, value in tally.result().items()
        }
