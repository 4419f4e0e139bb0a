"""What the devices of this machine can do, found by asking them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass

import torch
import torch.distributed as distributed

from nnopt.train.devices import GRAPHS, lacking, name_of

COMPILERS = ("c++", "g++", "clang++", "cl")  # where CXX names none
BACKENDS = ("gloo", "nccl", "xccl")


@dataclass(frozen=True)
class Abilities:
    """What a device can do, and what it cannot: words of the spec's strategy."""

    can: tuple[str, ...]
    cannot: tuple[str, ...]

    @classmethod
    def of(cls, device: torch.device) -> Abilities:
        """Tries out what can be tried."""
        found = {precision: lacking(precision, device) is None for precision in ("tf32", "bf16", "fp16")}
        found["graph"] = device.type in GRAPHS
        found["compile"] = missing_for_compile(device) is None
        names = tuple(found)
        return cls(tuple(name for name in names if found[name]), tuple(name for name in names if not found[name]))

    def __str__(self) -> str:
        return f"can {', '.join(self.can) or 'nothing but fp32'}" + (
            f"; not {', '.join(self.cannot)}" if self.cannot else ""
        )


def missing_for_compile(device: torch.device) -> str | None:
    """What torch.compile lacks to compile for a device, or None."""
    if device.type == "cpu":
        return None if compiler() else "a C++ compiler (g++ or clang++; or the variable CXX)"
    if device.type in ("cuda", "xpu"):
        return None if importlib.util.find_spec("triton") else "the package triton"
    return None


def compiler() -> str | None:
    """The C++ compiler that torch.compile finds, or None."""
    named = os.environ.get("CXX")
    return next((found for name in ([named] if named else COMPILERS) if (found := shutil.which(name))), None)


def memory_words(device: torch.device) -> str | None:
    """How much memory an accelerator has and how much of it is free; None where torch does not tell."""
    try:
        free, total = torch.accelerator.get_memory_info(device)
    except RuntimeError:
        return None
    return f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} free"


def describe_device(name: str) -> str:
    """An accelerator's name, memory and abilities in words."""
    device = torch.device(name)
    words = [word for word in (name_of(device), memory_words(device)) if word]
    return ", ".join([*words, str(Abilities.of(device))])


def ways_between_processes() -> list[str]:
    """What processes of one run can speak to each other by."""
    if not distributed.is_available():
        return []
    return [name for name in BACKENDS if distributed.is_backend_available(name)]
