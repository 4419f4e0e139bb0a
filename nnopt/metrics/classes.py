"""Metrics of one class a sample."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss
from nnopt.metrics.confidence import Confidence
from nnopt.metrics.rates import RATES, rates
from nnopt.metrics.tally import Tally

_TOP = re.compile(r"top(\d+)_accuracy")


class ClassTally(Tally):
    """A confusion matrix, the hits among the k best scores, and how sure the model is."""

    def __init__(self, names: Sequence[str], classes: int, loss: Loss, device: torch.device | str) -> None:
        super().__init__(names, loss, device)
        self.classes = classes
        self._depth = deepest(self.names)
        self._confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self._hits = torch.zeros(self._depth, dtype=torch.int64, device=device)
        self._confidence = Confidence(self.names, self._dtype, device)

    def confusion(self) -> list[list[int]]:
        """How many samples of class i (row) were taken for class j (column)."""
        rows: list[list[int]] = self._confusion.view(self.classes, self.classes).tolist()
        return rows

    @override
    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        scores = self._loss.scores(outputs)
        cells = targets * self.classes + scores.argmax(1)
        # A bincount without its wait for the device (it looks for the largest cell on the host).
        self._confusion.scatter_add_(0, cells, torch.ones_like(cells))
        if self._depth:
            best = scores.topk(self._depth, dim=1).indices  # [n, k], best first
            self._hits += (best == targets[:, None]).sum(0)
        if self._confidence.wanted:
            right = targets[:, None] == torch.arange(self.classes, device=targets.device)
            self._confidence.count(self._loss.probabilities(outputs.to(self._dtype)), right)

    @override
    def _values(self) -> dict[str, float]:
        confusion = self._confusion.view(self.classes, self.classes).cpu().double()
        hits = self._hits.cpu().double().cumsum(0) / self.samples
        top = {f"top{k}_accuracy": share for k, share in enumerate(hits.tolist(), start=1)}
        accuracy = float(confusion.diagonal().sum()) / self.samples
        rated: dict[str, float] = {}
        if any(name.startswith(RATES) for name in self.names):
            rated = rates(confusion.diagonal(), confusion.sum(1), confusion.sum(0))
        return {"accuracy": accuracy, **top, **rated, **self._confidence.values(class_of_two=True)}


def deepest(names: Iterable[str]) -> int:
    """The largest k of the `top<k>_accuracy` among `names`, 0 where there is none."""
    return max((int(found[1]) for name in names if (found := _TOP.fullmatch(name))), default=0)
