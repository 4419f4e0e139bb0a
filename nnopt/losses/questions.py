"""The loss of several questions about one sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss, softmax_together, wide


@dataclass(frozen=True, eq=False)
class QuestionsLoss(Loss):
    """Σ w_q J_q, J_q the cross-entropy of question q's class, or the squared error of its number.

    Outputs [n, sum of `widths`] hold those of one question after the other; column q of targets [n, questions] has
    the number of its class (`widths[q]` of them), or its value where `is_number[q]` (one output).
    """

    widths: Sequence[int]
    is_number: Sequence[bool]
    weights: Sequence[float]

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        total = outputs.new_zeros((), dtype=wide(outputs[:0]).dtype)
        columns = zip(self.answers(outputs), self.is_number, self.weights, strict=True)
        for column, (answer, is_number, weight) in enumerate(columns):
            wanted = targets[:, column]
            if is_number:
                total = total + weight * F.mse_loss(answer.squeeze(1), wanted.to(answer.dtype))
            else:
                total = total + weight * F.cross_entropy(answer, wanted.long())
        return total

    @override
    def together(self, outputs: Sequence[Tensor]) -> Tensor:
        by_question = zip(*(self.answers(one) for one in outputs), strict=True)
        found = [
            torch.stack(answers).mean(dim=0) if is_number else softmax_together(answers)
            for answers, is_number in zip(by_question, self.is_number, strict=True)
        ]
        return torch.cat(found, dim=1)

    def answers(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs of each question, [n, width], in at least 32 bits."""
        return torch.split(wide(outputs), list(self.widths), dim=1)
