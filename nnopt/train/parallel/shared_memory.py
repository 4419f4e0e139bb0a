"""What processes of one machine share: the weights, and a board that says who takes which update."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnopt.optim.parameters import Parameters

CAPACITY = 4096  # updates between two rests
PATIENCE = 1.0  # seconds that a process waits for the board before it looks whether the others are there


def shared(tensor: Tensor) -> Tensor:
    """Moves a tensor into shared memory, and with it all that are views of the same."""
    tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


@dataclass(frozen=True)
class SharedNetwork:
    """The tensors of a network in shared memory: what its optimizer changes, and by name all others."""

    values: list[Tensor]
    others: dict[str, Tensor]  # buffers, and parameters that are frozen

    @classmethod
    def of(cls, parameters: Parameters, model: nn.Module) -> SharedNetwork:
        """Moves a network into shared memory; whatever refers to its tensors goes on to do so."""
        for value in parameters.values:
            shared(value)
        for tensor in _others(parameters, model).values():
            shared(tensor)
        return cls([value.detach() for value in parameters.values], _others(parameters, model))

    def take_over(self, parameters: Parameters, model: nn.Module) -> None:
        """Makes a network of the same shape, in another process, this one."""
        parameters.lie_in(self.values, model)
        for name, tensor in _others(parameters, model).items():
            tensor.data = self.others[name]


def _others(parameters: Parameters, model: nn.Module) -> dict[str, Tensor]:
    trained = set(parameters.names)
    frozen = {name: tensor for name, tensor in model.named_parameters() if name not in trained}
    return {**{name: tensor.data for name, tensor in frozen.items()}, **dict(model.named_buffers())}


@dataclass(frozen=True)
class Ticket:
    """The right and duty to carry out an update.

    Attributes:
        step: how many updates come before it in the order of the batches.
        made: how many updates had been written when it was given, before the weights are read.
    """

    step: int
    made: int


class Board:
    """Gives out updates in order, and takes down what came of each; between `open` and rest.

    A lock is held for the microseconds of giving and taking down, never while weights are read or written.
    """

    def __init__(self) -> None:
        self._lock = multiprocessing.get_context("spawn").Lock()
        # First update since the last rest, next to be given, where giving ends, how many were written (over the run).
        self._counts = shared(torch.zeros(4, dtype=torch.int64))
        self._losses = shared(torch.zeros(CAPACITY, dtype=torch.float64))
        self._norms = shared(torch.zeros(CAPACITY, dtype=torch.float64))
        self._rates = shared(torch.zeros(CAPACITY, dtype=torch.float64))
        self._ages = shared(torch.zeros(CAPACITY, dtype=torch.int64))

    def open(self, step: int, limit: int) -> None:
        """The updates from `step` on, up to before `limit`, are there to be taken; all processes are at rest."""
        assert step < limit <= step + CAPACITY
        self._counts[:3] = torch.tensor([step, step, limit])

    def take(self, check: Callable[[], None]) -> Ticket | None:
        """The next update, None where none is left."""
        with self._held(check):
            return self._next()

    def hand_in(
        self, ticket: Ticket, loss: float, norm: float, rate: float, check: Callable[[], None], ends: bool = False
    ) -> Ticket | None:
        """Takes down that an update is written, and what it was like; gives the next one as `take`.

        With `ends` none is given out any more.
        """
        with self._held(check):
            counts = self._counts.numpy()
            made = int(counts[3])
            counts[3] = made + 1
            if ends:
                counts[2] = counts[1]
            following = self._next()
        place = ticket.step - int(counts[0])
        self._losses.numpy()[place] = loss
        self._norms.numpy()[place] = norm
        self._rates.numpy()[place] = rate
        self._ages.numpy()[place] = made - ticket.made
        return following

    def stop(self) -> None:
        """No update is given out any more, also to those who are at one."""
        self._counts[2] = 0

    def taken_down(self) -> tuple[Tensor, list[float], Tensor, list[int]]:
        """Losses, learning rates, gradient norms and staleness of the updates since `open`, in order; all at rest."""
        count = int(self._counts[1] - self._counts[0])
        return (
            self._losses[:count].clone(),
            self._rates[:count].tolist(),
            self._norms[:count].clone(),
            self._ages[:count].tolist(),
        )

    def _next(self) -> Ticket | None:
        counts = self._counts.numpy()
        step = int(counts[1])
        if step >= counts[2]:
            return None
        counts[1] = step + 1
        return Ticket(step, int(counts[3]))

    @contextmanager
    def _held(self, check: Callable[[], None]) -> Iterator[None]:
        while not self._lock.acquire(timeout=PATIENCE):
            check()  # who held it may be no more, and it would never be free again
        try:
            yield
        finally:
            self._lock.release()
