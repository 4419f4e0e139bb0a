"""What every loss has."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnopt.errors import UsageError


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

    def drawn(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Targets drawn from what the outputs say is probable, for the Fisher information of a model.

        With N rows of outputs [..., k] and the gradient g of the loss in them, against such targets, N·E[g gᵀ] is the
        loss's Hessian in the outputs, which is the Fisher matrix where the loss is a mean of -log p(target). Where it
        is that divided by the number of columns, the targets lie farther from what is expected for it to hold, and
        need not be targets that data could have.

        Args:
            outputs: [n, k], or [n, length, k]; no gradient flows through them.
            generator: what is drawn from, on the outputs' device.

        Raises:
            UsageError: the loss is no mean of -log p(target).
        """
        raise no_targets_drawn("this loss")


def no_targets_drawn(loss: str) -> UsageError:
    """What to raise where no targets can be drawn; `loss` says which loss that is."""
    return UsageError(
        f"{loss} does not say how probable targets are, so none can be drawn, as optimizer kfac needs: take loss "
        "cross_entropy or bce (without class_weights) or mse, or another optimizer"
    )


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
