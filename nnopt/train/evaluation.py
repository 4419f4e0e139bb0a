"""A pass over validation or test data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from nnopt.data.dataset import Dataset, Part
from nnopt.losses import Loss
from nnopt.metrics import ClassTally, build_tally


@dataclass(frozen=True)
class Result:
    """Metrics of one pass, the loss first, and for classes the confusion matrix (rows are true classes)."""

    values: dict[str, float]
    confusion: list[list[int]] | None


def evaluate(
    model: nn.Module,
    part: Part,
    data: Dataset,
    loss: Loss,
    metrics: Sequence[str],
    chunk: int,
    context: Callable[[], AbstractContextManager[object]],
) -> Result:
    """Runs `part` of `data` through the model in chunks; the model is in training mode again afterwards.

    Waits for the device once, at the end.
    """
    device = data.train.inputs.device
    tally = build_tally(metrics, data.task, len(data.classes), loss, data.target_scale, device)
    model.eval()
    with torch.no_grad(), context():
        for start in range(0, len(part), chunk):
            rows = slice(start, start + chunk)
            tally.update(model(part.inputs[rows]), part.targets[rows])
    model.train()
    confusion = tally.confusion() if isinstance(tally, ClassTally) else None
    return Result(tally.result(), confusion)
