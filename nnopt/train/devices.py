"""The device, precision and threads that a spec asks for, as far as this machine has them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from nnopt.errors import DeviceError

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Multiply-adds of a step's forward pass from which more threads pay. Measured on two idle cores with batches of 128:
# a second thread makes 784-128-10 (13 million) 1.05 times as fast, 784-512-512-10 (86 million) and LeNet-5 (53
# million) 1.45 times. On busy cores a small step on two threads can take ten times as long as on one.
MULTIPLY_ADDS_FOR_THREADS = 50_000_000


def available_devices() -> list[str]:
    """Names that `device:` takes here, the CPU last."""
    found = []
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        kind = accelerator.type if accelerator else ""
        count = torch.accelerator.device_count()
        found = [kind, *(f"{kind}:{index}" for index in range(1, count))]
    return [*found, "cpu"]


def find_device(name: str) -> torch.device:
    """The device called `name`; auto is the accelerator where there is one, else the CPU.

    Raises:
        DeviceError: it is not there.
    """
    known = available_devices()
    if name == "auto":
        return torch.device(known[0])
    if name.removesuffix(":0") not in known:
        raise DeviceError(f"device {name} is not there; this machine has {', '.join(known)}")
    return torch.device(name.removesuffix(":0"))


def check_precision(precision: str, device: torch.device) -> None:
    """Raises DeviceError where the device cannot compute in `precision`."""
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError("strategy.precision: fp16 needs an accelerator, and this run is on the CPU: use bf16 or fp32")
    if precision == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        raise DeviceError(
            f"strategy.precision: tf32 needs an NVIDIA GPU of the Ampere generation or later, not {device}"
        )
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceError("strategy.precision: this GPU has no bf16: use fp16 or fp32")


def autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Makes the context that forward passes run in."""
    dtype = AUTOCAST.get(precision)
    if dtype is None:
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)


def set_matmul_precision(precision: str) -> None:
    """tf32 is a switch of the whole process: each run sets it for itself."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_threads(asked: int | str, multiply_adds: int, most: int | None = None) -> int:
    """CPU threads for steps of so many multiply-adds (forward pass): a function of the spec and the cores alone.

    Where nobody asked for a number it is at most `most`.
    """
    if isinstance(asked, int):
        return asked
    return min(cores(), most or cores()) if multiply_adds >= MULTIPLY_ADDS_FOR_THREADS else 1
