"""Metrics of an evaluation, summed up on the device over chunks of data and read once at the end.

Conventions, those of scikit-learn unless said:
- precision, recall and F1 of a class are 0 where they would divide by zero.
- A macro average leaves out a class with neither targets nor predictions (scikit-learn without `labels=`).
- A weighted average weights a class by its number of targets. All three micro averages are the accuracy.
- R² is the mean over target columns; one whose targets are all equal counts 1 if predicted exactly, else 0.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.losses import Loss

RATES = ("precision", "recall", "f1")


class Tally(ABC):
    """Sums over an evaluation. `names` are the columns of the result, after `loss`."""

    def __init__(self, names: Sequence[str], loss: Loss, device: torch.device | str) -> None:
        self.names = tuple(dict.fromkeys(("loss", *names)))
        self.samples = 0
        self._loss = loss
        # Metal has no 64-bit floats.
        self._dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=self._dtype, device=device)

    @torch.no_grad()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count in a chunk: outputs [n, k] of the model, targets [n] (classes) or [n, k]."""
        self.samples += len(targets)
        self._loss_sum += self._loss(outputs, targets).to(self._dtype) * len(targets)
        self._count(outputs, targets)

    def result(self) -> dict[str, float]:
        """Each of `names` over all samples so far; waits for the device.

        Raises:
            ValueError: no samples.
        """
        if self.samples == 0:
            raise ValueError("an evaluation needs at least one sample")
        values = {"loss": float(self._loss_sum) / self.samples, **self._values()}
        return {name: values[name] for name in self.names}

    @abstractmethod
    def _count(self, outputs: Tensor, targets: Tensor) -> None: ...

    @abstractmethod
    def _values(self) -> dict[str, float]: ...


class ClassTally(Tally):
    """A confusion matrix, and the hits among the k best scores."""

    def __init__(self, names: Sequence[str], classes: int, loss: Loss, device: torch.device | str) -> None:
        super().__init__(names, loss, device)
        self.classes = classes
        depths = {f"top{k}_accuracy": k for k in range(1, classes + 1)}
        self._depth = max((depths.get(name, 0) for name in self.names), default=0)
        self._confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self._hits = torch.zeros(self._depth, dtype=torch.int64, device=device)

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

    @override
    def _values(self) -> dict[str, float]:
        confusion = self._confusion.view(self.classes, self.classes).cpu().double()
        hits = self._hits.cpu().double().cumsum(0) / self.samples
        top = {f"top{k}_accuracy": share for k, share in enumerate(hits.tolist(), start=1)}
        accuracy = float(confusion.diagonal().sum()) / self.samples
        rated = rates(confusion) if any(name.startswith(RATES) for name in self.names) else {}
        return {"accuracy": accuracy, **top, **rated}


class RegressionTally(Tally):
    """Sums of errors and of targets, a target column each.

    Outputs and targets are standardised; `scale` (a number, or [d]) is what one unit of them is in the data.
    """

    def __init__(self, names: Sequence[str], loss: Loss, scale: Tensor | float, device: torch.device | str) -> None:
        super().__init__(names, loss, device)
        self._scale = torch.as_tensor(scale, dtype=self._dtype, device=device)
        zero = torch.zeros((), dtype=self._dtype, device=device)
        self._squares, self._absolutes, self._targets, self._target_squares = zero, zero, zero, zero

    @override
    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        targets = targets.to(self._dtype)
        errors = outputs.to(self._dtype) - targets
        self._squares = self._squares + errors.square().sum(0)
        self._absolutes = self._absolutes + errors.abs().sum(0)
        self._targets = self._targets + targets.sum(0)
        self._target_squares = self._target_squares + targets.square().sum(0)

    @override
    def _values(self) -> dict[str, float]:
        mse = (self._squares * self._scale.square()).mean() / self.samples
        mae = (self._absolutes * self._scale).mean() / self.samples
        spread = self._target_squares - self._targets.square() / self.samples  # Σ(t − mean t)²
        constant = spread <= 1000 * torch.finfo(self._dtype).eps * self._target_squares
        r2 = torch.where(constant, (self._squares == 0).to(self._dtype), 1 - self._squares / spread)
        return {"mse": float(mse), "mae": float(mae), "r2": float(r2.mean())}


def rates(confusion: Tensor) -> dict[str, float]:
    """Precision, recall and F1 in all averages and of each class, from a confusion matrix [classes, classes].

    Rows are true classes, columns predicted ones, entries counts as floats.
    """
    hits, actual, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    # 2·hits / (actual + predicted) is the harmonic mean of precision and recall.
    by_rate = {
        "precision": (hits, predicted),
        "recall": (hits, actual),
        "f1": (2 * hits, actual + predicted),
    }
    occurs = actual + predicted > 0
    result: dict[str, float] = {}
    for rate, (above, below) in by_rate.items():
        each = above / below.clamp(min=1)
        result[f"{rate}_macro"] = float(each[occurs].mean())
        result[f"{rate}_micro"] = float(above.sum() / below.sum())
        result[f"{rate}_weighted"] = float((each * actual).sum() / actual.sum())
        result |= {f"{rate}_class_{index}": value for index, value in enumerate(each.tolist())}
    return result


@functools.cache
def _rate_names(classes: int) -> frozenset[str]:
    return frozenset(rates(torch.ones(classes, classes)))


def build_tally(
    names: Sequence[str],
    task: str,
    classes: int,
    loss: Loss,
    target_scale: Tensor | float,
    device: torch.device | str,
) -> Tally:
    """A tally of the metrics `names` (as in nnopt.spec.metric_names); `classes` is for classification.

    Its result holds `loss`, then each name once, `<rate>_per_class` as one column a class.

    Raises:
        ValueError: a name that this tally does not have.
    """
    expanded = {f"{rate}_per_class": [f"{rate}_class_{index}" for index in range(classes)] for rate in RATES}
    columns = [column for name in names for column in expanded.get(name, [name])]
    if task == "classification":
        tally: Tally = ClassTally(columns, classes, loss, device)
        known = {"loss", "accuracy", *(f"top{k}_accuracy" for k in range(1, classes + 1))}
        known |= _rate_names(classes)
    else:
        tally = RegressionTally(columns, loss, target_scale, device)
        known = {"loss", "mse", "mae", "r2"}
    if unknown := [name for name in tally.names if name not in known]:
        raise ValueError(f"no {task} metric is called {', '.join(unknown)}")
    return tally
