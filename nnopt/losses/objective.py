"""The value of a function as a loss: nothing is compared with a model's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from nnopt.losses.loss import Loss, wide


@dataclass(frozen=True, eq=False)
class Objective(Loss):
    """f(z) + mean over the samples of ε·z: f is `value`, the outputs are places z [n, d], the targets slopes ε [n, d].

    With slopes whose mean over all samples is 0, the gradient of a batch is that of f with noise.
    """

    value: Callable[[Tensor], Tensor]

    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = wide(outputs)
        return (self.value(outputs) + (outputs * targets).sum(1)).mean()
