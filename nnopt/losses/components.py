"""Losses that compare a model's outputs with as many wanted values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss, no_targets_drawn, sigmoid_together, wide


@dataclass(frozen=True, eq=False)
class ComponentLoss(Loss):
    """The mean of `function` over samples and components; classes are compared as one-hot vectors.

    `one_hot` [classes, classes] holds the vector of each class, or is None for real-valued targets.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    one_hot: Tensor | None

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = wide(outputs)
        wanted = targets if self.one_hot is None or targets.is_floating_point() else self.one_hot[targets]
        return self.function(outputs, wanted.to(outputs.dtype))

    @override
    def drawn(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        if self.function is not F.mse_loss:
            raise no_targets_drawn("this loss")
        # Normal, of variance k/2: 1/k·(z − y)² has the gradient 2/k·(z − y) and the Hessian 2/k, k columns.
        mean = wide(outputs)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        return mean + noise * math.sqrt(mean.shape[-1] / 2)


def weighted_cross_entropy(weights: Tensor | None, logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over [n, k] logits and targets from 0 to 1, weighed by `weights` [2, k] of 0 and of 1."""
    if weights is not None:
        no, yes = weights.to(logits.dtype)
        weights = no + (yes - no) * targets
    return F.binary_cross_entropy_with_logits(logits, targets, weights)


class SigmoidCrossEntropy(ComponentLoss):
    """-y log σ(z) - (1 - y) log σ(-z), the mean over samples and components: each is a yes or no of its own.

    With `weights` [2, k], component j counts weights[1, j] times where it is 1 and weights[0, j] times where it is 0.
    """

    is_weighted: bool

    def __init__(self, one_hot: Tensor | None, weights: Tensor | None = None) -> None:
        super().__init__(partial(weighted_cross_entropy, weights), one_hot)
        object.__setattr__(self, "is_weighted", weights is not None)  # the class is frozen

    @override
    def probabilities(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(wide(outputs))

    @override
    def together(self, outputs: Sequence[Tensor]) -> Tensor:
        return sigmoid_together(outputs)

    @override
    def drawn(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        if self.is_weighted:
            raise no_targets_drawn("loss bce with class_weights")
        # √k times as far from their mean as 0 and 1 are: the mean over k columns has 1/k of the gradient in each and
        # of the Hessian, but 1/k² of the gradient's square.
        chances = self.probabilities(outputs)
        drawn = torch.bernoulli(chances, generator=generator)
        return chances + (drawn - chances) * math.sqrt(chances.shape[-1])
