"""What every loss has."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(ABC):
    """A function of a model's outputs and the targets, differentiable in the outputs."""

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over the samples, 0-dim.

        Args:
            outputs: [n, k], or [n, length, k] of a model that answers at every place.
            targets: [n] class numbers, [n, d] values, [n, length] tokens, or for samples that were mixed [n, classes]
                shares of the classes, as floats.
        """

    def scores(self, outputs: Tensor) -> Tensor:
        """A score a class, [..., classes], the largest of which marks the predicted class."""
        return outputs

    def probabilities(self, outputs: Tensor) -> Tensor:
        """How probable each class or label is, [..., classes]; the scores, where the loss knows no probabilities."""
        return self.scores(outputs)

    def together(self, outputs: Sequence[Tensor]) -> Tensor:
        """Outputs that say what these of one shape say on the average: the mean of values, or of probabilities."""
        return torch.stack([wide(one) for one in outputs]).mean(dim=0)


def softmax_together(outputs: Sequence[Tensor]) -> Tensor:
    """Logits [..., classes] whose softmax is the mean of those of `outputs`."""
    logs = torch.stack([F.log_softmax(wide(one), dim=-1) for one in outputs])
    return logs.logsumexp(dim=0) - math.log(len(outputs))


def sigmoid_together(outputs: Sequence[Tensor]) -> Tensor:
    """Logits whose sigmoid is the mean of those of `outputs`."""
    logits = torch.stack([wide(one) for one in outputs])
    return F.logsigmoid(logits).logsumexp(dim=0) - F.logsigmoid(-logits).logsumexp(dim=0)


def wide(outputs: Tensor) -> Tensor:
    """The outputs in at least 32 bits: a mean over a batch loses digits in fewer."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
