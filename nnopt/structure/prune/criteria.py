"""How much a weight matters."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

CHUNK = 256  # samples of one pass, whose activations are in memory together


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a criterion may look at besides the weights.

    Attributes:
        generator: of this removal alone, on the CPU.
        gradient: the mean gradient of the loss over so many training samples, a tensor for each weight tensor.
        movement: −Σ w·∂J/∂w over the updates so far, a tensor for each weight tensor.
    """

    generator: torch.Generator
    gradient: Callable[[int], list[Tensor]]
    movement: Callable[[], list[Tensor]]


class Criterion(ABC):
    """A rule that gives every weight a score; those of the least are removed."""

    follows: bool = False  # whether it looks at `Evidence.movement`, which costs two passes over the weights an update

    @abstractmethod
    def scores(self, weights: Sequence[Tensor], evidence: Evidence) -> list[Tensor]:
        """A score for each weight, tensors shaped as the weights."""


class MagnitudeCriterion(Criterion):
    """|w|."""

    @override
    def scores(self, weights: Sequence[Tensor], evidence: Evidence) -> list[Tensor]:
        return [weight.detach().abs() for weight in weights]


class RandomCriterion(Criterion):
    """Places in a random order of all weights."""

    @override
    def scores(self, weights: Sequence[Tensor], evidence: Evidence) -> list[Tensor]:
        sizes = [weight.numel() for weight in weights]
        order = torch.randperm(sum(sizes), generator=evidence.generator)
        parts = order.split_with_sizes(sizes)
        return [part.view(weight.shape).to(weight.device) for part, weight in zip(parts, weights, strict=True)]


@dataclass(frozen=True)
class GradientCriterion(Criterion):
    """|w·∂J/∂w|, J over `samples` training samples (Lee et al. 2019, arXiv:1810.02340)."""

    samples: int

    @override
    def scores(self, weights: Sequence[Tensor], evidence: Evidence) -> list[Tensor]:
        slopes = evidence.gradient(self.samples)
        return [(weight.detach() * slope).abs() for weight, slope in zip(weights, slopes, strict=True)]


class MovementCriterion(Criterion):
    """−Σ w·∂J/∂w (Sanh et al. 2020, arXiv:2005.07683)."""

    follows = True

    @override
    def scores(self, weights: Sequence[Tensor], evidence: Evidence) -> list[Tensor]:
        return evidence.movement()


def mean_gradient(
    model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """The gradient of the mean loss over the samples, by the names of the parameters.

    Batch norm takes the statistics of the samples, as in training, dropout drops nothing; the model, its gradients and
    its running statistics stay as they are. Parameters that the loss does not depend on have a gradient of 0.

    Args:
        model: the network.
        loss: of outputs and targets, 0-dim, a mean over samples.
        inputs: [n, *input_shape].
        targets: [n] or [n, k].
    """
    twin = copy.deepcopy(model).eval()
    if len(inputs) > 1:
        for layer in twin.modules():
            if isinstance(layer, _BatchNorm):
                layer.train()
    parts = -(-len(inputs) // CHUNK)
    for some_inputs, some_targets in zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True):
        share = len(some_inputs) / len(inputs)
        (loss(twin(some_inputs), some_targets) * share).backward()  # type: ignore[no-untyped-call]
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in twin.named_parameters()
    }
