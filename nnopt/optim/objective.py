"""The objective on one batch, for optimizers that ask for more than its gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnopt.errors import UsageError
from nnopt.optim.optimizer import Evaluate

__all__ = ["Objective", "Smooth", "objective_of"]


@dataclass(frozen=True)
class Smooth:
    """The objective on one batch as a function of the values, J = loss(outputs(values)) + penalty(values).

    It can be differentiated any number of times, by autograd and by torch.func. It is computed in the type of the
    values, whatever the precision of training; every call draws the same random numbers (dropout), and none changes
    the network. `values` everywhere are tensors laid out as `Parameters.values`.

    Where the forward pass itself is under torch.func.vmap (as in jacfwd), dropout draws other masks: take a Hessian as
    vmap over the pullback of torch.func.vjp(torch.func.grad(J), values), whose forward pass is a plain one.

    Attributes:
        outputs: what the network answers to the batch, [n, ...].
        loss: of such outputs against the batch's targets, 0-dim.
        penalty: the L1 and L2 terms, 0-dim.
        drawn_loss: of such outputs against targets drawn from what they say is probable, 0-dim.
        network: the module that answers, holding the present values; its parameters are the trained ones.
        inputs: [n, ...], what it is given.
        count: adds so many forward and backward passes to those that are counted; a product with the Hessian is two.
    """

    outputs: Callable[[Sequence[Tensor]], Tensor]
    loss: Callable[[Tensor], Tensor]
    penalty: Callable[[Sequence[Tensor]], Tensor]
    drawn_loss: Callable[[Tensor, torch.Generator], Tensor]
    network: nn.Module
    inputs: Tensor
    count: Callable[[int], None]

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """The objective at `values`, 0-dim."""
        return self.loss(self.outputs(values)) + self.penalty(values)


class Objective(ABC):
    """What `Optimizer.step` evaluates, where that can give more than the objective and its gradient."""

    @abstractmethod
    def __call__(self) -> Tensor:
        """As `Evaluate`: one counted forward and backward pass at the present values."""

    @abstractmethod
    def smooth(self) -> Smooth:
        """The same objective as a function."""

    @abstractmethod
    def generator(self) -> torch.Generator:
        """A generator on the values' device, seeded by the run's seed and the count of passes so far."""


def objective_of(evaluate: Evaluate, kind: str) -> Objective:
    """`evaluate` as one that can be differentiated twice.

    Raises:
        UsageError: it gives no more than a gradient.
    """
    if not isinstance(evaluate, Objective):
        raise UsageError(f"optimizer {kind} needs second derivatives, and here only gradients are to be had")
    return evaluate
