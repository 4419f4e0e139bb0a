"""How far an export answers test data as torch does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nnopt.errors import ExportError
from nnopt.export.subject import Subject
from nnopt.metrics.build import build_tally
from nnopt.train.evaluation import subject_of

Answer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Agreement:
    """Torch and an export on the same test samples.

    Attributes:
        samples: how many.
        metrics: by "torch" and "export", the metrics of the run.
        largest_difference: of two outputs for one sample.
        largest_output: that torch gives, by its absolute value.
        share: of classes, labels or tokens, the share of answers that are equal; of numbers R²: one minus the mean
            square of the differences over the variance of torch's answers. The least of several columns.
    """

    samples: int
    metrics: dict[str, dict[str, float | None]]
    largest_difference: float
    largest_output: float
    share: float

    def record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "samples": self.samples,
            "metrics": self.metrics,
            "largest_difference": self.largest_difference,
            "largest_output": self.largest_output,
            "agreement": self.share,
        }


def compare(subject: Subject, answer: Answer, count: int | None) -> Agreement:
    """Sets `answer` against torch on the first `count` test samples, None for all.

    The first sample is asked once more, alone: an export may not depend on how many come at once.

    Raises:
        ExportError: outputs of another shape, or such as are no numbers.
    """
    data, setup = subject.data, subject.setup
    tallies = {
        name: build_tally(setup.metrics, subject_of(data, data.test), setup.loss, "cpu") for name in ("torch", "export")
    }
    columns, samples, difference, largest = _columns(subject), 0, 0.0, 0.0
    for inputs, targets in subject.tests(count):
        wanted, found = subject.answer(inputs), answer(inputs)
        _check(found, wanted)
        if not samples:
            alone = answer(inputs[:1])
            _check(alone, wanted[:1])
            difference = float((alone - wanted[:1]).abs().max())
        difference = max(difference, float((found - wanted).abs().max()))
        largest = max(largest, float(wanted.abs().max()))
        tallies["torch"].update(wanted, targets)
        tallies["export"].update(found, targets)
        for column in columns:
            column.update(found, wanted)
        samples += len(inputs)
    metrics = {name: _finite(tally.result()) for name, tally in tallies.items()}
    return Agreement(samples, metrics, difference, largest, min(column.share for column in columns))


def _check(found: Tensor, wanted: Tensor) -> None:
    if found.shape != wanted.shape:
        raise ExportError(f"the export answers with shape {list(found.shape)}, and torch with {list(wanted.shape)}")
    if not bool(torch.isfinite(found).all()):
        raise ExportError("the export answers with what is no number (NaN or infinity)")


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


@dataclass(eq=False)
class _Equal:
    """Counts equal answers; `decide` makes whole numbers of outputs."""

    decide: Callable[[Tensor], Tensor]
    equal: int = 0
    of: int = 0

    def update(self, found: Tensor, wanted: Tensor) -> None:
        same = self.decide(found) == self.decide(wanted)
        self.equal += int(same.sum())
        self.of += same.numel()

    @property
    def share(self) -> float:
        return self.equal / self.of


@dataclass(eq=False)
class _Numbers:
    """R² of one column of outputs against torch's."""

    column: int
    squares: float = 0.0
    values: list[Tensor] = field(default_factory=list)

    def update(self, found: Tensor, wanted: Tensor) -> None:
        here = wanted[:, self.column].double()
        self.squares += float((found[:, self.column].double() - here).square().sum())
        self.values.append(here)

    @property
    def share(self) -> float:
        values = torch.cat(self.values)
        spread = float((values - values.mean()).square().sum())
        if spread == 0:
            return 1.0 if self.squares == 0 else 0.0
        return 1.0 - self.squares / spread


def _columns(subject: Subject) -> list[_Equal | _Numbers]:
    """What to look at in the outputs: what a user takes for the answer."""
    data, loss = subject.data, subject.setup.loss
    if data.questions:
        found: list[_Equal | _Numbers] = []
        start = 0
        for question in data.questions:
            part = slice(start, start + question.outputs)
            found.append(_Equal(_class_within(part)) if question.classes else _Numbers(start))
            start = part.stop
        return found
    if data.task == "multilabel":
        return [_Equal(lambda outputs: loss.probabilities(outputs) > 0.5)]
    if data.classes:
        return [_Equal(lambda outputs: loss.scores(outputs).argmax(-1))]
    return [_Numbers(column) for column in range(data.outputs)]


def _class_within(part: slice) -> Callable[[Tensor], Tensor]:
    return lambda outputs: outputs[:, part].argmax(1)
