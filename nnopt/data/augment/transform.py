"""What a random change of a batch is."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.dataset import Dataset
from nnopt.errors import DataError


class Transform(ABC):
    """Changes a batch at random, each sample by a draw of its own."""

    # Whether a sample becomes a mixture of several: its targets change with it.
    mixes: bool = False

    @abstractmethod
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The changed inputs [n, ...] and targets; the given tensors stay as they are.

        Where samples are mixed, class numbers [n] come back as shares of the classes [n, classes].
        """


class Chain(Transform):
    """One change after the other."""

    def __init__(self, steps: Sequence[Transform]) -> None:
        self.steps = tuple(steps)

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        for step in self.steps:
            inputs, targets = step(inputs, targets, generator)
        return inputs, targets


def chosen(inputs: Tensor, share: float, generator: torch.Generator) -> Tensor | None:
    """Which samples are changed where a share of them is: [n, 1, ...] of truth values that fit `inputs`; None: all."""
    if share == 1:
        return None
    draws = torch.rand(len(inputs), generator=generator, device=inputs.device)
    return (draws < share).view(-1, *([1] * (inputs.ndim - 1)))


def where_chosen(which: Tensor | None, changed: Tensor, inputs: Tensor) -> Tensor:
    """`changed` where a sample was chosen, else what it was."""
    return changed if which is None else torch.where(which, changed, inputs)


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """[count] draws, each between `low` and `high`, on the generator's device."""
    return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low


@functools.lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """[n] float32, kept on the device: to bring numbers there anew would make the host wait, batch after batch."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def check_images(kind: str, data: Dataset) -> None:
    """Raises DataError where the inputs are no images."""
    if len(data.input_shape) != 3:
        raise DataError(f"data.augment: {kind} changes images; this data gives {data.describe_inputs()}")


def check_values(kind: str, data: Dataset) -> None:
    """Raises DataError where the inputs are no values, but tokens or nothing at all."""
    if data.task in ("language", "function"):
        what = data.describe_inputs() if data.task == "language" else "a function to minimise"
        raise DataError(f"data.augment: {kind} changes values; this data gives {what}")
