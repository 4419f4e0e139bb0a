"""How far a network's answers lie from those of its teachers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override


class Answers(ABC):
    """What outputs say, and a distance between what two networks say. Both are plain means over the samples."""

    @abstractmethod
    def targets(self, outputs: Sequence[Tensor]) -> Tensor:
        """What teachers with these outputs, [n, k] or [n, length, k] each, say together: of the same shape."""

    @abstractmethod
    def distance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """At least 0, 0-dim, differentiable in `outputs`; `targets` as `targets` gave them."""


@dataclass(frozen=True)
class Softmax(Answers):
    """T²·KL(p ‖ softmax(z/T)), p the mean of the teachers' softmax(t/T).

    The factor T² keeps the gradient's size where T grows (Hinton et al. 2015, arXiv:1503.02531, section 2).
    """

    temperature: float

    @override
    def targets(self, outputs: Sequence[Tensor]) -> Tensor:
        return torch.stack([F.softmax(one.float() / self.temperature, dim=-1) for one in outputs]).mean(dim=0)

    @override
    def distance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.dim() > 2:  # a softmax at every place of a text
            outputs, targets = outputs.flatten(0, -2), targets.flatten(0, -2)
        said = F.log_softmax(outputs.float() / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(said, targets, reduction="batchmean")


@dataclass(frozen=True)
class Sigmoid(Answers):
    """The same with a sigmoid for each output: T² times the mean over outputs of KL between two Bernoulli variables."""

    temperature: float

    @override
    def targets(self, outputs: Sequence[Tensor]) -> Tensor:
        return torch.stack([torch.sigmoid(one.float() / self.temperature) for one in outputs]).mean(dim=0)

    @override
    def distance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        softened = outputs.float() / self.temperature
        yes, no = F.logsigmoid(softened), F.logsigmoid(-softened)
        divergence = F.kl_div(yes, targets, reduction="none") + F.kl_div(no, 1 - targets, reduction="none")
        return self.temperature**2 * divergence.mean()


@dataclass(frozen=True)
class Values(Answers):
    """The mean squared difference from the teachers' mean output."""

    @override
    def targets(self, outputs: Sequence[Tensor]) -> Tensor:
        return torch.stack([one.float() for one in outputs]).mean(dim=0)

    @override
    def distance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs.float(), targets)


def answers_named(name: str, temperature: float) -> Answers:
    """The answers of a loss: its "softmax", "sigmoid" or "values"."""
    return {"softmax": Softmax(temperature), "sigmoid": Sigmoid(temperature), "values": Values()}[name]
