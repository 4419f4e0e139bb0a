"""Losses of one class a sample, or one token at every place of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.losses.components import weighted_cross_entropy
from nnopt.losses.loss import Loss, no_targets_drawn, sigmoid_together, softmax_together, wide


@dataclass(frozen=True, eq=False)
class CrossEntropy(Loss):
    """-log softmax(z)_y, with label smoothing and class weights [classes]; -Σ_c y_c log softmax(z)_c for shares y_c.

    With weights, sample i counts `class_weights[y_i]` times and the sum is divided by the number of samples,
    not by the sum of their weights as in torch: that sum differs from batch to batch.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = wide(outputs)
        if outputs.dim() > 2:
            outputs, targets = outputs.flatten(0, -2), targets.flatten(0, outputs.dim() - 2)
        if targets.is_floating_point():
            targets = targets.to(outputs.dtype)
        if self.class_weights is None:
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        weights = self.class_weights.to(outputs.dtype)
        return F.cross_entropy(outputs, targets, weights, reduction="none", label_smoothing=self.label_smoothing).mean()

    @override
    def probabilities(self, outputs: Tensor) -> Tensor:
        return wide(outputs).softmax(dim=-1)

    @override
    def together(self, outputs: Sequence[Tensor]) -> Tensor:
        return softmax_together(outputs)

    @override
    def drawn(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        if self.class_weights is not None:
            raise no_targets_drawn("loss cross_entropy with class_weights")
        chances = self.probabilities(outputs)
        classes = torch.multinomial(chances.flatten(0, -2), 1, generator=generator).reshape(outputs.shape[:-1])
        if not self.label_smoothing:
            return classes
        # Shares that smoothing turns into all for one class: p is the softmax, whatever the targets are smoothed to.
        shares = F.one_hot(classes, outputs.shape[-1]).to(chances.dtype)
        return (shares - self.label_smoothing / outputs.shape[-1]) / (1 - self.label_smoothing)

    @property
    def plain(self) -> bool:
        """Whether it is the mean of -log softmax(z)_y and nothing else."""
        return self.label_smoothing == 0 and self.class_weights is None


@dataclass(frozen=True, eq=False)
class TwoClassCrossEntropy(Loss):
    """-log σ(z) where the class is 1 and -log σ(-z) where it is 0, for one logit z: outputs [n, 1].

    With `weights` [2, 1], a sample of class c counts weights[c] times.
    """

    weights: Tensor | None = None

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits = wide(outputs)
        wanted = targets[:, 1:] if targets.is_floating_point() else targets[:, None]
        return weighted_cross_entropy(self.weights, logits, wanted.to(logits.dtype))

    @override
    def scores(self, outputs: Tensor) -> Tensor:
        return torch.cat((torch.zeros_like(outputs), outputs), dim=1)

    @override
    def probabilities(self, outputs: Tensor) -> Tensor:
        logits = wide(outputs)
        return torch.cat((torch.sigmoid(-logits), torch.sigmoid(logits)), dim=1)

    @override
    def together(self, outputs: Sequence[Tensor]) -> Tensor:
        return sigmoid_together(outputs)

    @override
    def drawn(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        if self.weights is not None:
            raise no_targets_drawn("loss bce with class_weights")
        return torch.bernoulli(torch.sigmoid(wide(outputs[:, 0])), generator=generator).long()
