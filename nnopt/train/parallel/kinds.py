"""What `parallel` asks for, as this machine and this network can give it."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import nn

from nnopt.data.dataset import Dataset
from nnopt.errors import DataError, DeviceError, UsageError
from nnopt.spec.experiment import RunSettings
from nnopt.spec.parallel import Fsdp, Hogwild, LocalSgd, ParallelSpec, ParameterServer
from nnopt.spec.strategy import GrowingBatch
from nnopt.surroundings import cores, is_started_by_torchrun
from nnopt.train.parallel.team import Team
from nnopt.train.parallel.together import Replicas, Together, Wanderers


def build_together(parallel: ParallelSpec | None, team: Team, device: torch.device) -> Together:
    """How the processes of `team` hold the network."""
    if parallel is None or team.is_alone:
        return Together(team, in_parts=isinstance(parallel, Fsdp))
    if isinstance(parallel, Fsdp):
        from nnopt.train.parallel.sharded import Shards  # it brings sympy, a second at every start

        return Shards(team, device)
    return Wanderers(team, parallel.period) if isinstance(parallel, LocalSgd) else Replicas(team)


def processes_of(parallel: ParallelSpec | None, device: torch.device) -> int:
    """How many processes take every update of a run together.

    Raises:
        UsageError: torchrun started another number of them than the mathematics of the file needs.
    """
    if parallel is None or not parallel.in_step:
        return 1
    if is_started_by_torchrun():
        size = int(os.environ["WORLD_SIZE"])
        if not parallel.exact and parallel.asked != size:
            raise UsageError(
                f"parallel.processes: {parallel.asked} is part of what {parallel.kind} computes, and torchrun started "
                f"{size}: make the two equal"
            )
        return size
    return parallel.asked or (1 if device.type == "cpu" else torch.accelerator.device_count())


def processes_beside(parallel: ParallelSpec | None) -> int:
    """How many processes of this machine train a run out of step: each has its share of the cores."""
    if isinstance(parallel, ParameterServer):
        return parallel.in_flight
    return parallel.processes if isinstance(parallel, Hogwild) else 1


def check_parallel(parallel: ParallelSpec | None, device: torch.device) -> None:
    """Refuses a run whose processes cannot be had here.

    Raises:
        UsageError: what starts them is not installed.
        DeviceError: they cannot share what is on this device.
    """
    if isinstance(parallel, ParameterServer) and importlib.util.find_spec("ray") is None:
        raise UsageError("parallel: parameter_server needs ray, which is not installed here: pip install 'nnopt[ray]'")
    if isinstance(parallel, Hogwild) and device.type != "cpu":
        raise DeviceError(
            f"parallel hogwild shares weights in the memory of the CPU, and device auto is {device} here: "
            "write device: cpu, or take parallel parameter_server"
        )


def threads_of_each(most: int | None, processes: int) -> int | None:
    """The most threads that `threads: auto` takes, where so many processes share the cores of their machine."""
    if processes == 1:
        return most
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes)) if is_started_by_torchrun() else processes
    share = max(1, cores() // here)
    return share if most is None else min(most, share)


def device_of_team(device: torch.device, team: Team, processes: int) -> torch.device:
    """The device of this process, one of `processes` (which may not have been started yet).

    Raises:
        DeviceError: there are fewer devices than processes on this machine.
    """
    if processes == 1 or device.type == "cpu":
        return device
    count = torch.accelerator.device_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes)) if is_started_by_torchrun() else processes
    if here > count:
        raise DeviceError(
            f"parallel.processes: {here} processes need a {device.type} device each, and this machine has {count}: "
            f"take {count}, or device: cpu"
        )
    return torch.device(device.type, team.place)


def check_team(settings: RunSettings, data: Dataset, model: nn.Module, processes: int) -> None:
    """Refuses what so many processes cannot do with this network and these batches.

    Raises:
        UsageError: a batch has fewer samples than there are processes, or a process would have no part of the network.
    """
    if processes == 1 or settings.parallel is None:
        return
    size, samples = settings.strategy.batch_size, len(data.train)
    first = size.size(0.0) if isinstance(size, GrowingBatch) else samples if size == "full" else int(size)
    if first < processes:
        raise UsageError(
            f"parallel.processes: a batch of {first} cannot be divided among {processes} processes: "
            "take fewer, or a larger strategy.batch_size"
        )
    last = 0 if isinstance(size, GrowingBatch) else samples % first
    if 0 < last < processes:
        raise UsageError(
            f"strategy.batch_size: {first} of {samples} samples leaves a last batch of {last}, "
            f"which {processes} processes cannot divide: take another size, or fewer processes"
        )
    if isinstance(settings.parallel, LocalSgd):
        _check_norms(model, min(first, last or first) // processes)
    if isinstance(settings.parallel, Fsdp):
        _check_divisible(model, processes)


def _check_divisible(model: nn.Module, processes: int) -> None:
    """Raises UsageError where a process would keep nothing of any layer."""
    rows = max((parameter.shape[0] for parameter in model.parameters() if parameter.dim()), default=0)
    if rows < processes:
        raise UsageError(
            f"parallel: the model is too small for fsdp: its tensors have at most {rows} rows to cut, and there are "
            f"{processes} processes: take ddp, or fewer"
        )


def _check_norms(model: nn.Module, smallest: int) -> None:
    has_norm = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())
    if has_norm and smallest < 2:
        raise DataError(
            "parallel: batch norm cannot train on one sample, and a process's share of a batch comes down to that: "
            "take fewer processes, or another strategy.batch_size"
        )
