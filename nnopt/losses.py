"""Losses: what a model's outputs are compared with, and how far off they are.

A loss is the plain mean over the samples of a batch. So the loss of a batch is the mean of its parts' losses,
weighted by their sizes: gradient accumulation and evaluation in chunks change nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from typing_extensions import override

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Loss(ABC):
    """A function of a model's outputs and the targets, differentiable in the outputs."""

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over the samples, 0-dim, for outputs [n, k] and targets [n] (classes) or [n, k]."""

    def scores(self, outputs: Tensor) -> Tensor:
        """A score a class, [n, classes], the largest of which marks the predicted class."""
        return outputs


@dataclass(frozen=True, eq=False)
class ComponentLoss(Loss):
    """The mean of `function` over samples and components; classes are compared as one-hot vectors.

    `one_hot` [classes, classes] holds the vector of each class, or is None for real-valued targets.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    one_hot: Tensor | None

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = _wide(outputs)
        wanted = targets if self.one_hot is None else self.one_hot[targets]
        return self.function(outputs, wanted.to(outputs.dtype))


@dataclass(frozen=True, eq=False)
class CrossEntropy(Loss):
    """-log softmax(z)_y, with label smoothing and class weights [classes].

    With weights, sample i counts `class_weights[y_i]` times and the sum is divided by the number of samples,
    not by the sum of their weights as in torch: that sum differs from batch to batch.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = _wide(outputs)
        if self.class_weights is None:
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        weights = self.class_weights.to(outputs.dtype)
        return F.cross_entropy(outputs, targets, weights, reduction="none", label_smoothing=self.label_smoothing).mean()


class TwoClassCrossEntropy(Loss):
    """-log σ(z) where the class is 1 and -log σ(-z) where it is 0, for one logit z: outputs [n, 1]."""

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits = _wide(outputs).squeeze(1)
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))

    @override
    def scores(self, outputs: Tensor) -> Tensor:
        return torch.cat((torch.zeros_like(outputs), outputs), dim=1)


def penalised_names(model: nn.Module) -> set[str]:
    """The names of the parameters that L1 and L2 terms cover: all but biases and those of norm layers."""
    return {
        name
        for name, _ in model.named_parameters()
        if "bias" not in name.rpartition(".")[2] and not isinstance(model.get_submodule(name.rpartition(".")[0]), NORMS)
    }


def _wide(outputs: Tensor) -> Tensor:
    """The outputs in at least 32 bits: a mean over a batch loses digits in fewer."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
