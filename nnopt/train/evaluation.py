"""A pass over validation or test data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from nnopt.data.dataset import Dataset, Samples
from nnopt.losses.loss import Loss
from nnopt.metrics.build import Subject, build_tally
from nnopt.metrics.classes import ClassTally
from nnopt.train.test_time import TestTime


@dataclass(frozen=True)
class Result:
    """Metrics of one pass, the loss first, and for classes the confusion matrix (rows are true classes)."""

    values: dict[str, float]
    confusion: list[list[int]] | None


def evaluate(
    model: nn.Module,
    part: Samples,
    data: Dataset,
    loss: Loss,
    metrics: Sequence[str],
    chunk: int,
    context: Callable[[], AbstractContextManager[object]],
    test_time: TestTime | None = None,
) -> Result:
    """Runs `part` of `data` through the model in chunks; the model is in training mode again afterwards.

    With `test_time`, an answer is the mean over changed copies of a sample.

    Waits for the device once, at the end.
    """
    device = part.device
    tally = build_tally(metrics, subject_of(data, part), loss, device)
    model.eval()
    with torch.no_grad(), context():
        for number, (inputs, targets) in enumerate(part.chunks(chunk)):
            if test_time is None:
                outputs = model(inputs)
            else:
                outputs = test_time.answers(model, inputs, targets, number)
            tally.update(outputs, targets)
    model.train()
    confusion = tally.confusion() if isinstance(tally, ClassTally) else None
    return Result(tally.result(), confusion)


def subject_of(data: Dataset, part: Samples) -> Subject:
    """What metrics have to know of `part` of `data`."""
    return Subject(
        task=data.task,
        classes=len(data.classes),
        target_mean=data.target_mean,
        target_scale=data.target_scale,
        questions=[(question.name, len(question.classes)) for question in data.questions],
        characters=data.characters_of(part),
        distance=None if data.landscape is None else data.landscape.distance,
    )
