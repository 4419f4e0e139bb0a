"""A process that computes gradients of weights which another one holds: a copy of the model, and the data."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnopt.data.batches import Position
from nnopt.plan import RunSpec
from nnopt.structure.network import load_weights
from nnopt.surroundings import Surroundings
from nnopt.train.setup import DataCache, build
from nnopt.train.state import generator_states, set_generator_states

Arrays = list[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Batch:
    """A batch by its place: where it begins in the data, and how many samples it is to have."""

    epoch: int
    offset: int
    size: int

    def as_state(self) -> dict[str, int]:
        """Plain values, for a checkpoint."""
        return asdict(self)


@dataclass(frozen=True)
class Draws:
    """What a model draws at random from: the states of generators, or a seed of the batch's own."""

    generators: dict[str, Any] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What came of a batch: arrays as the worker's parameters and buffers are laid out; `draws` are those after it.

    In the worker's process they are its own memory, until the next batch.
    """

    gradients: Arrays
    buffers: Arrays
    loss: float
    norm: float
    draws: Draws


class GradientWorker:
    """One of several; it holds no state that outlives a batch."""

    def __init__(self, run: RunSpec, network: dict[str, Any], threads: int, surroundings: Surroundings) -> None:
        """`network` holds the weights by name, also those that do not train, as numpy arrays."""
        with contextlib.suppress(OSError):  # on another machine the folder may be missing; absolute paths do without
            surroundings.take()
        self.setup, self.state = build(run, DataCache(), threads)
        load_weights(self.state.model, {name: torch.from_numpy(np.array(array)) for name, array in network.items()})

    def ready(self) -> int:
        """Its process id, once it is built."""
        return os.getpid()

    def gradient(self, values: Arrays, buffers: Arrays, batch: Batch, draws: Draws) -> Answer:
        """The gradient of the objective at `values` on a batch, unscaled, with penalties, and clipped."""
        setup, state, backward = self.setup, self.state, self.setup.backward
        write(setup.parameters.values, values)
        write(buffers_of(state.model), buffers)
        if draws.generators is None:
            torch.manual_seed(draws.seed)
        else:
            set_generator_states(
                {name: torch.from_numpy(np.array(one)) for name, one in draws.generators.items()}, state.device
            )
        backward.begin(setup.feed.take(Position(batch.epoch, batch.offset), batch.size), norm_wanted=True)
        backward()
        assert backward.loss is not None
        assert backward.gradient_norm is not None
        after = draws if draws.generators is None else draws_now(state.device)
        return Answer(
            arrays_of(setup.parameters.gradients),
            arrays_of(buffers_of(state.model)),
            float(backward.loss),
            float(backward.gradient_norm),
            after,
        )


def draws_now(device: torch.device) -> Draws:
    """The states of this process's default generators."""
    return Draws({name: state.numpy() for name, state in generator_states(device).items()})


def buffers_of(model: nn.Module) -> list[Tensor]:
    """The buffers that are part of a model's state: running statistics of norms."""
    state = model.state_dict(keep_vars=True)
    return [buffer for name, buffer in model.named_buffers() if name in state]


def arrays_of(tensors: list[Tensor]) -> Arrays:
    """Tensors as numpy arrays, which Ray carries without copying them; they share the memory of tensors on the CPU."""
    return [tensor.detach().cpu().numpy() for tensor in tensors]


@torch.no_grad()
def write(tensors: list[Tensor], arrays: Arrays) -> None:
    """Gives tensors the values of arrays of the same shapes."""
    for tensor, array in zip(tensors, arrays, strict=True):
        if tensor.is_cpu:
            np.copyto(tensor.detach().numpy(), array)
        else:
            tensor.copy_(torch.from_numpy(np.array(array)))
