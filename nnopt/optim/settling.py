"""Optimizers of torch.optim whose memory stays where it is, so that a step of theirs can be recorded and replayed."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from nnopt.errors import UsageError

__all__ = ["memory_of", "settle"]

# What the memory of torch's optimizers is before the first step, where that is not 0.
FIRST = {"mu_product": 1.0}


def memory_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The tensors that an optimizer remembers between steps, in a fixed order."""
    memories = [optimizer.state[value] for group in optimizer.param_groups for value in group["params"]]
    return [part for memory in memories for part in memory.values() if isinstance(part, Tensor)]


def settle(optimizer: torch.optim.Optimizer) -> None:
    """Makes the memory that an optimizer otherwise makes in its first step, and puts its rates into tensors.

    On an accelerator it counts its steps there from then on. On a CPU torch refuses that, and reading them there
    costs nothing.

    Raises:
        UsageError: it has no such form.
    """
    for group in optimizer.param_groups:
        if "capturable" not in group:
            raise UsageError(f"torch's {type(optimizer).__name__} looks at numbers on the host, so no step is recorded")
        device = group["params"][0].device
        on_cpu = device.type == "cpu"
        group["capturable"] = not on_cpu
        # torch's fused kernels read a rate of 32 bits; on a CPU it is to be the number that it would be.
        dtype = torch.float64 if on_cpu else torch.float32
        group["lr"] = torch.tensor(float(group["lr"]), dtype=dtype, device=device)
    if not optimizer.state:
        _begin(optimizer)
    for group in optimizer.param_groups:
        for value in group["params"]:
            memory = optimizer.state[value]
            for name, part in memory.items():
                if isinstance(part, Tensor) and group["capturable"]:
                    memory[name] = part.to(value.device)


@torch.no_grad()
def _begin(optimizer: torch.optim.Optimizer) -> None:
    """Has the memory made by a step, and undoes what that step did."""
    values = [value for group in optimizer.param_groups for value in group["params"]]
    before = [value.detach().clone() for value in values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a capturable optimizer steps without being captured
        optimizer.step()
    for value, own in zip(values, before, strict=True):
        value.copy_(own)
        for name, part in optimizer.state[value].items():
            if isinstance(part, Tensor):
                part.fill_(FIRST.get(name, 0.0))
