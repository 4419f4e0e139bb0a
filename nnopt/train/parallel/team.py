"""The processes that train one run together, as torch.distributed knows them; a process by itself is a team of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as distributed
from torch import Tensor

from nnopt.errors import UsageError
from nnopt.stages import stage
from nnopt.train.parallel.scheduling import beginning_threads_that_do_not_preempt

Told = TypeVar("Told")

# The lead evaluates while the others wait; a process that is lost is noticed by its closed connections, not by this.
WAIT = timedelta(hours=6)


@dataclass(frozen=True)
class Team:
    """The team that this process belongs to. What a method here waits for, all of its processes have to call.

    Attributes:
        rank: this process's number; that of the lead, which alone writes, is 0.
        size: how many processes.
        place: this process's number among those of its machine: that of its accelerator.
    """

    rank: int = 0
    size: int = 1
    place: int = 0

    @classmethod
    def here(cls) -> Team:
        """The team that this process joined; by itself where it joined none."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        rank = distributed.get_rank()
        return cls(rank, distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", rank)))

    @property
    def is_lead(self) -> bool:
        """Whether this process writes, evaluates and decides for all."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to wait for."""
        return self.size == 1

    def told(self, value: Told) -> Told:
        """What the lead holds, in every process (plain values, and tensors on the CPU)."""
        if self.is_alone:
            return value
        box = [value if self.is_lead else None]
        with stage("synchronisation"):
            distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return cast(Told, box[0])

    def told_numbers(self, numbers: list[float]) -> list[float]:
        """As `told`, and quicker, for a list of one length everywhere."""
        if self.is_alone:
            return numbers
        box = torch.tensor(numbers, dtype=torch.float64)
        with stage("synchronisation"):
            distributed.broadcast(box, src=0)
        return [float(number) for number in box]

    def gathered(self, value: Told) -> list[Told]:
        """What every process holds, in the order of their ranks, for the lead; nothing for the others."""
        if self.is_alone:
            return [value]
        found: list[Any] | None = [None] * self.size if self.is_lead else None
        with stage("synchronisation"):
            distributed.gather_object(value, found, dst=0)
        return found or []

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        if not self.is_alone:
            with stage("synchronisation"):
                distributed.all_reduce(tensor)
        return tensor


def backend_of(device: torch.device) -> str:
    """The engines of torch.distributed for tensors of the CPU and of `device`."""
    if device.type == "cpu":
        return "gloo"
    return f"cpu:gloo,{device.type}:{distributed.get_default_backend_for_device(device)}"


@contextlib.contextmanager
def membership(rank: int, size: int, place: int, meeting: str, device: torch.device) -> Iterator[Team]:
    """This process is one of a team while the block lasts; `meeting` is an init_method of torch.distributed.

    Raises:
        UsageError: the processes do not find each other.
    """
    os.environ["LOCAL_RANK"] = str(place)
    try:
        with beginning_threads_that_do_not_preempt():
            distributed.init_process_group(
                backend_of(device), init_method=meeting, rank=rank, world_size=size, timeout=WAIT
            )
    except (RuntimeError, ValueError) as error:
        raise UsageError(_why_not(error, meeting)) from error
    try:
        yield Team.here()
    finally:
        distributed.destroy_process_group()


def _why_not(error: Exception, meeting: str) -> str:
    reason = str(error).strip().split("\n")[0]
    where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}" if meeting == "env://" else meeting
    if "EADDRINUSE" in reason or "in use" in reason:
        return f"port {where} is in use: give torchrun another with --master-port, or --standalone for one machine"
    return f"the processes of the run do not find each other at {where}: {reason}"
