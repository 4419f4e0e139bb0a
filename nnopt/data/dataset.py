"""A data set that is ready to train on: three parts of tensors, and what a model has to know about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnopt.data.raw import Task


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a data set.

    Attributes:
        inputs: [n, *input_shape] float32, normalised.
        targets: [n] int64 class numbers, or [n, d] float32 standardised values.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])

    def to(self, device: torch.device | str) -> Part:
        """The same rows on `device`."""
        return Part(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, split and normalised.

    Attributes:
        name: the kind that the spec names it by.
        train: the rows to train on; every statistic of the normalisation comes from them alone.
        validation: the rows to choose by.
        test: the rows to read once, at the end of a run.
        task: "classification" or "regression".
        classes: the class names in the order of their numbers; () for regression.
        target_mean: [d], what was taken from real-valued targets; [0] for classes.
        target_scale: [d], what they were divided by then; [1] for classes. An error times this is in the
            data's own units.
        content_hash: SHA-256 of the content as read, before the split.
    """

    name: str
    train: Part
    validation: Part
    test: Part
    task: Task
    classes: tuple[str, ...]
    target_mean: Tensor
    target_scale: Tensor
    content_hash: str

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            target_mean=self.target_mean.to(device),
            target_scale=self.target_scale.to(device),
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (features,) or (channels, height, width)."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def outputs(self) -> int:
        """The number of classes, or of target columns."""
        return len(self.classes) if self.task == "classification" else int(self.train.targets.shape[1])

    def describe_inputs(self) -> str:
        """The shape of an input in words: "64 features", "1x8x8 images"."""
        shape = self.input_shape
        if len(shape) == 1:
            return f"{shape[0]} feature{'' if shape[0] == 1 else 's'}"
        return f"{'x'.join(map(str, shape))} {'images' if len(shape) == 3 else 'inputs'}"
