"""A data set that is ready to train on: three parts, and what a model has to know about them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.encoding import Encoding
from nnopt.data.landscapes import Landscape
from nnopt.data.task import Question, Task


class Samples(ABC):
    """Rows of a data set, wherever they lie."""

    # Whether a row is the same in every epoch: text that is cut at other places each time is not.
    fixed: bool = True

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the tensors of `gather`, `first` and `chunks` lie."""

    @abstractmethod
    def gather(self, rows: Tensor | None, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Inputs [n, *input_shape] and targets [n, ...] of `rows` [n] (int64, on `device`), None for all in order.

        `epoch` matters where rows are not the same in every epoch.
        """

    @abstractmethod
    def to(self, device: torch.device | str) -> Samples:
        """The same rows, for use on `device`."""

    def for_seed(self, seed: int) -> Samples:
        """The same rows as the run with this seed draws them; for rows that stay as they are, those themselves."""
        return self

    def first(self, count: int) -> Tensor:
        """The inputs of the first rows, `count` of them or as many as there are."""
        return self.gather(torch.arange(min(count, len(self)), device=self.device))[0]

    def all_targets(self) -> Tensor:
        """The targets of all rows in order, [n, ...] on `device`."""
        return self.gather(None)[1]

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows in order, `size` at a time: inputs and targets."""
        for start in range(0, len(self), size):
            yield self.gather(torch.arange(start, min(start + size, len(self)), device=self.device))


@dataclass(frozen=True, eq=False)
class Part(Samples):
    """Rows that lie in memory as tensors.

    Attributes:
        inputs: [n, *input_shape] float32, normalised; int64 for tokens.
        targets: [n] int64 class numbers, [n, d] float32 standardised values, [n, d] float32 zeros and ones for labels,
            [n, d] float32 standardised values and class numbers for several questions, or [n, length] int64 tokens.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])

    @property
    @override
    def device(self) -> torch.device:
        return self.inputs.device

    @override
    def gather(self, rows: Tensor | None, epoch: int = 0) -> tuple[Tensor, Tensor]:
        if rows is None:
            return self.inputs, self.targets
        return self.inputs.index_select(0, rows), self.targets.index_select(0, rows)

    @override
    def first(self, count: int) -> Tensor:
        return self.inputs[:count]

    @override
    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), size):
            yield self.inputs[start : start + size], self.targets[start : start + size]

    @override
    def to(self, device: torch.device | str) -> Part:
        return Part(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, split and normalised.

    Attributes:
        name: the kind that the spec names it by.
        train: the rows to train on; every statistic of the normalisation comes from them alone.
        validation: the rows to choose by.
        test: the rows to read once, at the end of a run.
        task: what is asked about a sample.
        classes: the names of classes, labels or tokens in the order of their numbers; () for numbers.
        target_mean: [d], what was taken from real-valued targets; [0] for classes.
        target_scale: [d], what they were divided by then; [1] for classes. An error times this is in the
            data's own units.
        content_hash: SHA-256 of the content as read, before the split.
        questions: what the columns of the targets answer, for several questions.
        encoding: how new samples are read and brought to the scale of these; None where they cannot be.
        notes: what a user should know of how the data was read, in sentences.
        characters: for text, how many characters a token of each part ("train", "validation", "test") stands for, on
            the average.
        pixel_range: [channels] each, what black and white pixels became; None where it is not known.
        landscape: the function that is to be made small, where the data set is one.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    task: Task
    classes: tuple[str, ...]
    target_mean: Tensor
    target_scale: Tensor
    content_hash: str
    questions: tuple[Question, ...] = ()
    encoding: Encoding | None = None
    notes: tuple[str, ...] = ()
    characters: Mapping[str, float] = field(default_factory=dict)
    pixel_range: tuple[Tensor, Tensor] | None = None
    landscape: Landscape | None = None

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            target_mean=self.target_mean.to(device),
            target_scale=self.target_scale.to(device),
            pixel_range=self.pixel_range and (self.pixel_range[0].to(device), self.pixel_range[1].to(device)),
        )

    def characters_of(self, part: Samples) -> float:
        """How many characters a token of `part`, one of the three, stands for; 1 where that is not known."""
        name = next((name for name in ("train", "validation", "test") if getattr(self, name) is part), "")
        return self.characters.get(name, 1.0)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (features,), (channels, height, width), or (length,) for tokens."""
        return tuple(self.train.first(1).shape[1:])

    @property
    def outputs(self) -> int:
        """How many outputs answer a sample: classes, labels, tokens, target columns, or all those of the questions."""
        if self.questions:
            return sum(question.outputs for question in self.questions)
        if self.classes:
            return len(self.classes)
        _, targets = self.train.gather(torch.zeros(1, dtype=torch.int64, device=self.train.device))
        return math.prod(targets.shape[1:])

    def describe_inputs(self) -> str:
        """The shape of an input in words: "64 features", "1x8x8 images", "64 tokens"."""
        shape = self.input_shape
        if len(shape) == 1:
            what = "token" if self.task == "language" else "feature"
            return f"{shape[0]} {what}{'' if shape[0] == 1 else 's'}"
        return f"{'x'.join(map(str, shape))} {'images' if len(shape) == 3 else 'inputs'}"
