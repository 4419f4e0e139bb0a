"""What a network is trained towards where it learns from others."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from nnopt.structure.distill.answers import Answers
from nnopt.structure.distill.features import DISTANCES, caught


class TeacherTargets(ABC):
    """What teachers say of a batch, as `Answers.targets` gives it."""

    @abstractmethod
    def of(self, inputs: Tensor, rows: Tensor | None) -> Tensor:
        """[n, k] for inputs [n, ...] that come of these rows of the training data (None: all)."""


@dataclass(frozen=True, eq=False)
class Known(TeacherTargets):
    """What they say of all training data, [samples, k], was asked before: for samples that stay as they are."""

    targets: Tensor

    @override
    def of(self, inputs: Tensor, rows: Tensor | None) -> Tensor:
        return self.targets if rows is None else self.targets.index_select(0, rows)


@dataclass(frozen=True, eq=False)
class Heard(TeacherTargets):
    """They answer each batch as the network that learns sees it, within `context`; all are in evaluation mode."""

    networks: Sequence[nn.Module]
    answers: Answers
    context: Callable[[], AbstractContextManager[object]]

    @override
    @torch.no_grad()
    def of(self, inputs: Tensor, rows: Tensor | None) -> Tensor:
        with self.context():
            return self.answers.targets([network(inputs) for network in self.networks])


class TeacherFeatures(ABC):
    """Outputs of a teacher's layers for a batch."""

    @abstractmethod
    def of(self, inputs: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        """By name of the layer, for inputs [n, ...] that are these rows of the training data (None: all)."""


@dataclass(frozen=True, eq=False)
class Kept(TeacherFeatures):
    """Those of all training data, [samples, ...] by name, were computed before."""

    features: dict[str, Tensor]

    @override
    def of(self, inputs: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        if rows is None:
            return self.features
        return {name: tensor.index_select(0, rows) for name, tensor in self.features.items()}


@dataclass(frozen=True, eq=False)
class Computed(TeacherFeatures):
    """The teacher computes them as they are asked for."""

    network: nn.Module
    layers: Sequence[str]

    @override
    @torch.no_grad()
    def of(self, inputs: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        with caught(self.network, self.layers) as found:
            self.network(inputs)
        return {name: output.float() for name, output in found.items()}


@dataclass(frozen=True)
class Match:
    """A pair of layers: what their distance counts, and which distance it is ("similarities" or "values")."""

    student: str
    teacher: str
    weight: float
    distance: str


class Distillation:
    """(1 − α) times the loss, α times the distance from the teachers' answers, and the distances of layers.

    Args:
        answers: the distance between answers.
        targets: what the teachers say.
        weight: α.
        matches: pairs of layers.
        features: outputs of the teacher's layers, where there are pairs.
        teachers: who they are, for the record.
    """

    def __init__(
        self,
        answers: Answers,
        targets: TeacherTargets,
        weight: float,
        matches: Sequence[Match] = (),
        features: TeacherFeatures | None = None,
        teachers: Sequence[dict[str, str | int]] = (),
    ) -> None:
        self.answers = answers
        self.targets = targets
        self.weight = weight
        self.matches = tuple(matches)
        self.features = features
        self.teachers = list(teachers)
        self._seen: dict[str, Tensor] = {}

    def watching(self, network: nn.Module) -> AbstractContextManager[None]:
        """What the forward pass of the network that learns is to run in: the matched layers are looked at."""
        return self._watched(network) if self.matches else contextlib.nullcontext()

    @contextlib.contextmanager
    def _watched(self, network: nn.Module) -> Iterator[None]:
        with caught(network, [match.student for match in self.matches]) as self._seen:
            yield

    def __call__(self, loss: Tensor, outputs: Tensor, inputs: Tensor, rows: Tensor | None) -> Tensor:
        """What is minimised on a batch, 0-dim; the arguments are those of train.step.Guide."""
        targets = self.targets.of(inputs, rows)
        total = (1 - self.weight) * loss + self.weight * self.answers.distance(outputs, targets)
        if self.features is None:
            return total
        seen, self._seen = self._seen, {}
        wanted = self.features.of(inputs, rows)
        for match in self.matches:
            total = total + match.weight * DISTANCES[match.distance](seen[match.student], wanted[match.teacher])
        return total
