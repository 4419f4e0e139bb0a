"""One way in which a spec changes the network: pruning, low rank, quantisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnopt.data.dataset import Dataset
from nnopt.optim.parameters import Parameters
from nnopt.spec.experiment import RunSettings
from nnopt.train.step import Pass

if TYPE_CHECKING:
    from nnopt.train.state import TrainState


@dataclass(frozen=True, eq=False)
class Bench:
    """What a change of the network works on."""

    settings: RunSettings
    seed: int
    device: torch.device
    data: Dataset
    backward: Pass
    state: TrainState
    # Parameters, optimizer and average begin afresh, for the tensors that a model has from now on.
    refit: Callable[[nn.Module], None]

    @property
    def model(self) -> nn.Module:
        """The network as it is now."""
        return self.state.model

    @property
    def parameters(self) -> Parameters:
        """Its trainable parameters as the optimizer sees them."""
        return self.backward.parameters


class Operation(ABC):
    """Something that changes the network at given shares of the budget, and watches the updates in between.

    All that it needs to go on after a resume is in `state_dict`.
    """

    name: str
    # Rising; `change(i)` is called once the share `shares[i]` of the budget is used, 0 before the first update and 1
    # after the last.
    shares: tuple[float, ...] = ()
    # Whether the tensors that train get other shapes, so that optimizer and average begin afresh.
    reshapes: bool = False
    # Whether the network computes in another way after a change, so that torch.compile has to begin afresh.
    recompiles: bool = False
    # Whether the network answers otherwise after a change: if so the change has a row, and bests count anew.
    changes_answers: bool = True
    # Whether validation is measured before and after each change: not for many small ones.
    judged: bool = True
    # Indices of changes that only take note of something: they have no row, and nothing is said of them.
    quiet: frozenset[int] = frozenset()

    @abstractmethod
    def change(self, index: int) -> str:
        """Does the change of that index, and says it in a few words ("magnitude: 90 % of 101,632 weights are 0")."""

    def after_backward(self) -> None:
        """Sees, and may change, the gradients that lie in the parameters before they are measured and clipped."""

    def after_update(self) -> None:
        """May change the weights after an update."""

    def rate_shares(self, before: float, after: float) -> tuple[float, float]:
        """The shares of the budget that the learning rate's schedule is to see for an update."""
        return before, after

    def state_dict(self) -> dict[str, Any]:
        """All that the next updates and changes depend on, besides the network: plain values, tensors."""
        return {}

    def restored(self) -> None:
        """Called after a resume, once the network has its weights."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave; the network has its shape already, but not its weights."""
