"""How the processes of a run hold its network: a process by itself, replicas in step, replicas apart, or parts."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nnopt.data.feed import Batch
from nnopt.optim.optimizer import Optimizer
from nnopt.optim.parameters import FlatParameters, Group, Parameters, SeparateParameters
from nnopt.train.parallel.batch_norm import norm_over_team
from nnopt.train.parallel.team import Team


class Together:
    """A process by itself, and what the others do differently.

    Attributes:
        is_sharded: whether every process runs evaluations, as none has the whole network.
        passes_to_set_up: forward and backward passes in which processes get ready for each other.
    """

    is_sharded = False
    passes_to_set_up = 0

    def __init__(self, team: Team, in_parts: bool = False) -> None:
        self.team = team
        self.in_parts = in_parts  # an optimizer keeps each parameter by itself, as processes with parts of them do

    def place(self, model: nn.Module, sample: Tensor) -> None:
        """Prepares the model in place, before anything refers to its parameters; `sample`: some inputs."""

    def forward(self, model: nn.Module) -> nn.Module:
        """What is called with a batch in training."""
        return model

    def parameters(
        self, flat: bool, model: nn.Module, first: Collection[str], groups: Sequence[Group], apart: Collection[str]
    ) -> Parameters:
        """The trainable parameters as an optimizer wants them."""
        kind = FlatParameters if flat and not self.in_parts else SeparateParameters
        return kind(model, first, groups, apart)

    def optimizer(self, optimizer: Optimizer, parameters: Parameters) -> Optimizer:
        """The optimizer, with a state that any number of processes can go on from."""
        return optimizer

    def weight(self, batch: Batch) -> float:
        """What the mean loss of this process's share of a batch is multiplied by before the backward pass."""
        return 1.0

    def silently(self, forward: nn.Module, is_last: bool) -> AbstractContextManager[None]:
        """The context of forward and backward pass of one part of a share, the last or not."""
        return contextlib.nullcontext()

    def after_update(self, step: int) -> None:
        """Follows each update, the `step`-th."""

    def drift(self) -> float:
        """How far the replicas lay apart when they were last averaged, at most since this was last asked."""
        return 0.0

    def judged(self) -> AbstractContextManager[None]:
        """While it lasts, the model holds what evaluations and the best weights are to be of."""
        return contextlib.nullcontext()

    def model_state(self, model: nn.Module) -> dict[str, Any]:
        """The weights by name, whole."""
        return dict(model.state_dict())

    def load_model(self, model: nn.Module, weights: dict[str, Tensor]) -> bool:
        """Gives the model whole weights, where that is not as simple as it sounds; whether it did."""
        return False

    def own_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Of the state of this process what only it has."""
        return {"generators": state["generators"]}


def has_idle_parameters(model: nn.Module, sample: Tensor) -> bool:
    """Whether some trainable parameters have no part in the answers: DDP has to be told to look for them."""
    twin = copy.deepcopy(model).eval()
    with torch.enable_grad():
        answers = twin(sample)
        if answers.requires_grad:
            answers.float().sum().backward()
    return any(parameter.requires_grad and parameter.grad is None for parameter in twin.parameters())


class Replicas(Together):
    """Each process has the whole network, and takes its share of every batch; their gradients are averaged (DDP)."""

    passes_to_set_up = 2  # DDP notes in the first how gradients arrive, and packs them anew in the second

    def place(self, model: nn.Module, sample: Tensor) -> None:
        """As Together says."""
        self._has_idle = has_idle_parameters(model, sample)
        norm_over_team(model)

    def forward(self, model: nn.Module) -> nn.Module:
        """As Together says."""
        # Buffers are the same everywhere: batch norm sums over the team.
        return DistributedDataParallel(model, forward_sync_buffers=False, find_unused_parameters=self._has_idle)

    def weight(self, batch: Batch) -> float:
        """As Together says: DDP takes the plain mean over processes."""
        return self.team.size * len(batch) / batch.samples

    def silently(self, forward: nn.Module, is_last: bool) -> AbstractContextManager[None]:
        """As Together says: gradients travel once an update."""
        if is_last or not isinstance(forward, DistributedDataParallel):
            return contextlib.nullcontext()
        return forward.no_sync()


class Wanderers(Together):
    """Each process updates weights of its own; every `period` updates they are averaged (local SGD)."""

    def __init__(self, team: Team, period: int) -> None:
        super().__init__(team)
        self.period = period
        self.model: nn.Module | None = None
        self._drift = 0.0

    def place(self, model: nn.Module, sample: Tensor) -> None:
        """As Together says."""
        self.model = model

    def _values(self) -> list[Tensor]:
        """Weights, and the running statistics of norms."""
        assert self.model is not None
        return [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]

    @torch.no_grad()
    def _means(self) -> list[Tensor]:
        values = self._values()
        flat = torch.cat([value.detach().reshape(-1) for value in values])
        mean = self.team.total(flat.clone()).div_(self.team.size)
        apart = self.team.total((flat - mean).square().sum()).div_(self.team.size).sqrt()
        self._drift = max(self._drift, float(apart / torch.linalg.vector_norm(mean).clamp(min=1e-30)))
        parts = torch.split_with_sizes(mean, [value.numel() for value in values])
        return [part.view_as(value) for part, value in zip(parts, values, strict=True)]

    @torch.no_grad()
    def after_update(self, step: int) -> None:
        """As Together says."""
        if step % self.period == 0:
            for value, mean in zip(self._values(), self._means(), strict=True):
                value.copy_(mean)

    def drift(self) -> float:
        """As Together says."""
        found, self._drift = self._drift, 0.0
        return found

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """As Together says: the mean of the replicas, which go on from where they are."""
        values = self._values()
        own = [value.detach().clone() for value in values]
        with torch.no_grad():
            for value, mean in zip(values, self._means(), strict=True):
                value.copy_(mean)
        try:
            yield
        finally:
            with torch.no_grad():
                for value, before in zip(values, own, strict=True):
                    value.copy_(before)

    def own_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """As Together says."""
        return {name: state[name] for name in ("generators", "model", "optimizer")}
