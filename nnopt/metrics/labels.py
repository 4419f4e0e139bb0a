"""Metrics of any number of labels a sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss
from nnopt.metrics.confidence import Confidence
from nnopt.metrics.rates import RATES, rates
from nnopt.metrics.tally import Tally


class LabelTally(Tally):
    """Counts a label each; a label is predicted where its probability is above a half.

    Outputs and targets are [n, labels], targets zeros and ones.
    """

    def __init__(self, names: Sequence[str], labels: int, loss: Loss, device: torch.device | str) -> None:
        super().__init__(names, loss, device)
        self._labels = labels
        zeros = torch.zeros(labels, dtype=torch.int64, device=device)
        self._hits, self._actual, self._predicted = zeros, zeros, zeros
        self._whole = torch.zeros((), dtype=torch.int64, device=device)
        self._confidence = Confidence(self.names, self._dtype, device)

    @override
    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        probabilities, right = self._loss.probabilities(outputs.to(self._dtype)), targets > 0.5
        said = probabilities > 0.5
        self._hits = self._hits + (said & right).sum(0)
        self._actual = self._actual + right.sum(0)
        self._predicted = self._predicted + said.sum(0)
        self._whole += (said == right).all(1).sum()
        if self._confidence.wanted:
            self._confidence.count(probabilities, right)

    @override
    def _values(self) -> dict[str, float]:
        hits, actual, predicted = (counts.cpu().double() for counts in (self._hits, self._actual, self._predicted))
        wrong = float((actual + predicted - 2 * hits).sum())
        rated: dict[str, float] = {}
        if any(name.startswith(RATES) for name in self.names):
            rated = rates(hits, actual, predicted, all_count=True)
        return {
            "accuracy": 1 - wrong / (self.samples * self._labels),
            "subset_accuracy": float(self._whole) / self.samples,
            **rated,
            **self._confidence.values(class_of_two=False),
        }
