"""Evaluation by the mean of what a model says of several changed copies of each sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnopt.data.augment.transform import Transform
from nnopt.losses.loss import Loss
from nnopt.randomness import derive


@dataclass(frozen=True, eq=False)
class TestTime:
    """Answers of a model to each sample as it is, and to `copies` of it that `change` made.

    The draws follow from the seed, the chunk and the place in it alone: every evaluation of a run sees the same copies.
    """

    change: Transform
    copies: int
    seed: int
    loss: Loss  # says what the mean of several answers is

    __test__ = False  # no class of tests, for pytest

    def answers(self, model: nn.Module, inputs: Tensor, targets: Tensor, chunk: int) -> Tensor:
        """Outputs [n, ...] that say the mean, for the inputs [n, ...] of the chunk with this number."""
        outputs = [model(inputs)]
        generator = torch.Generator(inputs.device)
        for copy in range(self.copies):
            generator.manual_seed(derive(self.seed, "test-time", chunk, copy))
            with torch.autocast(inputs.device.type, enabled=False):  # samples are changed as in training
                changed, _ = self.change(inputs, targets, generator)
            outputs.append(model(changed))
        return self.loss.together(outputs)
