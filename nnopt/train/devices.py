"""The device, precision and threads that a spec asks for, as far as this machine has them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from nnopt.errors import DeviceError
from nnopt.surroundings import cores

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Multiply-adds of a step's forward pass from which more threads pay. Measured on two idle cores with batches of 128:
# a second thread makes 784-128-10 (13 million) 1.05 times as fast, 784-512-512-10 (86 million) and LeNet-5 (53
# million) 1.45 times. On busy cores a small step on two threads can take ten times as long as on one.
MULTIPLY_ADDS_FOR_THREADS = 50_000_000


# Accelerators of which torch can record a graph of kernels and replay it.
GRAPHS = ("cuda", "xpu")
# Accelerators that torch reaches through a package of their own: its module, which registers the device, and its line.
PLUG_INS = {"tpu": ("torch_tpu", "pip install 'nnopt[tpu]'")}


def import_plug_ins() -> dict[str, str]:
    """Imports what adds devices to torch, where it is installed; why one could not be, by its device.

    A process has one accelerator: none is looked for where torch has one of its own.
    """
    reasons: dict[str, str] = {}
    for kind, (module, line) in PLUG_INS.items():
        if torch.accelerator.is_available():
            continue
        if importlib.util.find_spec(module) is None:
            reasons[kind] = f"{module} is not installed: {line}"
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a package of drivers says where its hardware is missing
            words = (str(error).strip().splitlines() or [""])[0]
            reasons[kind] = f"{module} does not start here: {type(error).__name__}: {words}"
            continue
        if not torch.accelerator.is_available():
            reasons[kind] = f"{module} finds none here"
    return reasons


def available_devices() -> list[str]:
    """Names that `device:` takes here, the CPU last."""
    import_plug_ins()
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
        reason = import_plug_ins().get(name.partition(":")[0])
        raise DeviceError(
            f"device {name} is not there; this machine has {', '.join(known)}{f' ({reason})' if reason else ''}"
        )
    return torch.device(name.removesuffix(":0"))


def lacking(precision: str, device: torch.device) -> str | None:
    """Why the device cannot compute in `precision`, or None."""
    kind = device.type
    if precision == "tf32" and (kind != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        return f"tf32 needs an NVIDIA GPU of the Ampere generation or later, not {device}"
    if precision == "fp16" and kind == "cpu":
        return "fp16 needs an accelerator, and this run is on the CPU: use bf16 or fp32"
    dtype = AUTOCAST.get(precision)
    if dtype is None or kind == "cpu":
        return None
    if not torch.amp.is_autocast_available(kind):
        return f"torch has no mixed precision on {device}: use fp32"
    if kind == "cuda":
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            return "this GPU has no bf16: use fp16 or fp32"
        return None
    try:
        with torch.no_grad(), torch.autocast(kind, dtype=dtype):
            small = torch.ones(2, 2, device=device)
            product = small @ small
        return None if product.dtype == dtype else f"{device} has no {precision}: use fp32"
    except (RuntimeError, TypeError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"{device} has no {precision} ({words}): use fp32"


def check_precision(precision: str, device: torch.device) -> None:
    """Raises DeviceError where the device cannot compute in `precision`."""
    reason = lacking(precision, device)
    if reason is not None:
        raise DeviceError(f"strategy.precision: {reason}")


def check_graph(wanted: bool, device: torch.device) -> None:
    """Raises DeviceError where updates are to be recorded and the device has no graphs."""
    if wanted and device.type not in GRAPHS:
        where = "the CPU" if device.type == "cpu" else device
        raise DeviceError(
            f"strategy.graph needs CUDA or XPU, and this run is on {where}: leave it out, or take compile"
        )


def name_of(device: torch.device) -> str | None:
    """What an accelerator calls itself; None where torch does not tell, and for the CPU."""
    ask = getattr(torch.get_device_module(device.type), "get_device_name", None) if device.type != "cpu" else None
    try:
        return None if ask is None else str(ask(device))
    except (RuntimeError, TypeError, AssertionError):
        return None


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


def choose_threads(asked: int | str, multiply_adds: int, most: int | None = None) -> int:
    """CPU threads for steps of so many multiply-adds (forward pass): a function of the spec and the cores alone.

    Where nobody asked for a number it is at most `most`.
    """
    if isinstance(asked, int):
        return asked
    return min(cores(), most or cores()) if multiply_adds >= MULTIPLY_ADDS_FOR_THREADS else 1
