"""Networks of which each process keeps a part (torch's fully_shard), and optimizers on those parts.

Weights, gradients and what an optimizer remembers are cut along their first axis. Rules that look at entries one by one
work on a process's own part as on a network of its own; only norms have to be summed over the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from nnopt.data.feed import Batch
from nnopt.optim.optimizer import Evaluate, Finite, Optimizer, Rate
from nnopt.optim.parameters import Group, Parameters, SeparateParameters, total_norm
from nnopt.train.parallel.batch_norm import norm_over_team
from nnopt.train.parallel.team import Team
from nnopt.train.parallel.together import Together


class Shards(Together):
    """Each process keeps a part of every tensor, and takes its share of every batch."""

    is_sharded = True
    passes_to_set_up = 1  # fully_shard makes its plan in the first

    def __init__(self, team: Team, device: torch.device) -> None:
        super().__init__(team)
        self.mesh = init_device_mesh(device.type, (team.size,))

    def place(self, model: nn.Module, sample: Tensor) -> None:
        """As Together says; layers that have weights of their own are gathered one after the other."""
        norm_over_team(model)
        for layer in model.children():
            if any(True for _ in layer.parameters()):
                fully_shard(layer, mesh=self.mesh)
        fully_shard(model, mesh=self.mesh)
        cast(FSDPModule, model).set_unshard_in_backward(True)

    def parameters(
        self, flat: bool, model: nn.Module, first: Collection[str], groups: Sequence[Group], apart: Collection[str]
    ) -> Parameters:
        """As Together says."""
        return LocalParts(self.team, model, first, groups, apart)

    def optimizer(self, optimizer: Optimizer, parameters: Parameters) -> Optimizer:
        """As Together says."""
        assert isinstance(parameters, LocalParts)
        return WholeState(optimizer, parameters)

    def weight(self, batch: Batch) -> float:
        """As Together says: fully_shard takes the plain mean over processes."""
        return self.team.size * len(batch) / batch.samples

    def model_state(self, model: nn.Module) -> dict[str, Any]:
        """As Together says; every process has to ask."""
        return {name: _whole(tensor) for name, tensor in model.state_dict().items()}

    def load_model(self, model: nn.Module, weights: dict[str, Tensor]) -> bool:
        """As Together says."""
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                _take(tensor, weights[name])
        return True


class LocalParts(SeparateParameters):
    """Of every trainable parameter the part that this process keeps."""

    def __init__(
        self,
        team: Team,
        model: nn.Module,
        first: Collection[str] = (),
        groups: Sequence[Group] = (),
        apart: Collection[str] = (),
    ) -> None:
        super().__init__(model, first, groups, apart)
        self.team = team
        self.wholes = cast(list[DTensor], self.values)
        penalised = [place for place, name in enumerate(self.names) if name in first]
        self.values = [whole.to_local().detach() for whole in self.wholes]
        self.gradients = [cast(DTensor, gradient).to_local() for gradient in self.gradients]
        for value, gradient in zip(self.values, self.gradients, strict=True):
            value.grad = gradient
        self._penalised_values = [self.values[place] for place in penalised]
        self._penalised_gradients = [self.gradients[place] for place in penalised]

    def named(self, values: Sequence[Tensor] | None = None) -> Iterator[tuple[str, Tensor]]:
        """As `Parameters.named`, of the parts."""
        return zip(self.names, self.values if values is None else values, strict=True)

    def gradient_norm(self) -> Tensor:
        """As `Parameters.gradient_norm`, of the whole gradient."""
        return self.team.total(total_norm(self.gradients).square()).sqrt()

    def penalty(self, l1: float, l2: float, values: Sequence[Tensor] | None = None) -> Tensor:
        """As `Parameters.penalty`, of the whole parameters."""
        return self.team.total(super().penalty(l1, l2, values))

    def whole(self, tensor: Tensor, place: int) -> Tensor:
        """The whole of which `tensor` is this process's part, cut as the parameter at `place` is."""
        like = self.wholes[place]
        return DTensor.from_local(
            tensor, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
        ).full_tensor()

    def part(self, tensor: Tensor, place: int) -> Tensor:
        """This process's part of a whole."""
        like = self.wholes[place]
        return distribute_tensor(
            tensor.to(self.values[place].device), like.device_mesh, like.placements, src_data_rank=None
        ).to_local()


class WholeState(Optimizer):
    """An optimizer of parts, whose state is kept whole: any number of processes can go on from it."""

    def __init__(self, optimizer: Optimizer, parameters: LocalParts) -> None:
        self.optimizer = optimizer
        self.parameters = parameters

    def step(self, evaluate: Evaluate, lr: Rate, finite: Finite | None = None) -> None:
        """As `Optimizer.step`."""
        self.optimizer.step(evaluate, lr, finite)

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`; every process has to ask."""
        return self._changed(self.optimizer.state_dict(), self.parameters.whole)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Optimizer.load_state_dict`."""
        self.optimizer.load_state_dict(self._changed(state, self.parameters.part))

    def _changed(self, state: dict[str, Any], change: Callable[[Tensor, int], Tensor]) -> dict[str, Any]:
        """The same state with each tensor that goes along with a parameter replaced."""
        if "optimizers" in state:  # those of torch.optim: by parameter, in the order of param_groups
            return {"optimizers": [self._torch_state(one, change) for one in state["optimizers"]]}
        return {name: self._changed_entry(kept, change) for name, kept in state.items()}

    def _changed_entry(self, kept: Any, change: Callable[[Tensor, int], Tensor]) -> Any:
        if isinstance(kept, Mapping):  # of an optimizer that another one goes around
            return self._changed(dict(kept), change)
        if not isinstance(kept, list) or len(kept) != len(self.parameters.values):
            return kept
        if not all(isinstance(tensor, Tensor) and tensor.dim() > 0 for tensor in kept):
            return kept
        return [change(tensor, place) for place, tensor in enumerate(kept)]

    def _torch_state(self, state: dict[str, Any], change: Callable[[Tensor, int], Tensor]) -> dict[str, Any]:
        places = self._places()
        changed = {
            index: {
                key: change(value, places[index]) if isinstance(value, Tensor) and value.dim() > 0 else value
                for key, value in kept.items()
            }
            for index, kept in state["state"].items()
        }
        return {**state, "state": changed}

    def _places(self) -> dict[int, int]:
        """The number that torch.optim gives to each parameter -> its place among `parameters.values`."""
        order = {id(value): place for place, value in enumerate(self.parameters.values)}
        optimizers = getattr(self.optimizer.inner, "optimizers", ())
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        return {index: order[id(value)] for index, value in enumerate(v for group in groups for v in group["params"])}


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _take(tensor: Tensor, whole: Tensor) -> None:
    """Fills a tensor of the model, or this process's part of it."""
    if isinstance(tensor, DTensor):
        part = distribute_tensor(whole.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None)
        tensor.to_local().copy_(part.to_local())
    else:
        tensor.copy_(whole)
