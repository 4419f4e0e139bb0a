"""What `nnopt doctor` looks at: whether everything is there that training needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from nnopt.errors import UsageError
from nnopt.spec.data.union import DATA
from nnopt.surroundings import cores
from nnopt.track.tracking import TRACKERS, check_installed
from nnopt.train.abilities import (
    Abilities,
    compiler,
    describe_device,
    missing_for_compile,
    ways_between_processes,
)
from nnopt.train.devices import available_devices, import_plug_ins
from nnopt.train.energy import open_meter
from nnopt.train.environment import PACKAGES, processor
from nnopt.version import __version__

SIZE = 1024  # side of the matrices of the timed product
TOO_LITTLE_DISK = 1_000_000_000


@dataclass(frozen=True)
class Line:
    """One finding."""

    state: Literal["good", "absent", "bad"]
    name: str
    text: str


def checkup(runs_dir: Path, timed: bool) -> list[Line]:
    """Versions, devices, data at hand and the runs folder."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    lines = [
        Line("good", "nnopt", f"{__version__} on Python {platform.python_version()}, {platform.platform()}"),
        Line("good", "packages", versions),
        Line("good", "cores", str(cores())),
    ]
    for name in available_devices():
        speed = f", {product_speed(torch.device(name)) / 1e9:.0f} GFLOP/s in fp32 products" if timed else ""
        lines.append(Line("good", f"device {name}", f"{_device_name(name)}{speed}"))
        lines.append(_energy_line(name))
    lines += _accelerator_lines()
    lines += _data_lines()
    lines += [_tracker_line(name) for name in TRACKERS]
    return [*lines, _runs_line(runs_dir)]


def product_speed(device: torch.device) -> float:
    """Floating-point operations a second in products of 1024x1024 fp32 matrices; median of seven."""
    left = torch.ones(SIZE, SIZE, device=device)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        product = left @ left
        product[0, 0].item()  # waits for an accelerator
        times.append(time.perf_counter() - start)
    return 2 * SIZE**3 / sorted(times[1:])[3]


def _device_name(name: str) -> str:
    if name == "cpu":
        return f"{processor()}, {Abilities.of(torch.device(name))}"
    return describe_device(name)


def _accelerator_lines() -> Iterator[Line]:
    """Of what devices need from elsewhere: packages that add one, a compiler, ways between processes."""
    if available_devices() == ["cpu"]:
        yield Line("absent", "accelerator", "torch finds none: CUDA, MPS (Apple), XPU (Intel) or TPU")
    for kind, reason in import_plug_ins().items():
        yield Line("absent", f"device {kind}", reason)
    missing = missing_for_compile(torch.device("cpu"))
    if missing is None:
        yield Line("good", "torch.compile", f"compiles for the CPU with {compiler()}")
    else:
        yield Line("absent", "torch.compile", f"cannot compile for the CPU without {missing}")
    ways = ways_between_processes()
    yield Line("good" if ways else "absent", "torch.distributed", ", ".join(ways) or "not built into this torch")


def _energy_line(device: str) -> Line:
    meter = open_meter(torch.device(device))
    name = f"energy of {device}"
    return Line("good", name, meter.source) if meter.source else Line("absent", name, meter.reason or "not counted")


def _tracker_line(name: str) -> Line:
    try:
        check_installed([name])
    except UsageError as error:
        return Line("absent", f"track {name}", str(error))
    return Line("good", f"track {name}", "installed")


def _data_lines() -> Iterator[Line]:
    """Of the data sets that their kind alone names; the others are the user's own files, or made as asked."""
    for kind, spec in DATA.named().items():
        try:
            reason = spec.model_validate({"kind": kind}).available()  # type: ignore[attr-defined]
        except ValidationError:
            continue
        yield Line("good", f"data {kind}", "at hand") if reason is None else Line("absent", f"data {kind}", reason)


def _runs_line(runs_dir: Path) -> Line:
    there = next(folder for folder in (runs_dir, *runs_dir.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Line("bad", "runs folder", f"{runs_dir} cannot be written: give --runs-dir, or set NNOPT_RUNS_DIR")
    free = shutil.disk_usage(there).free
    state: Literal["good", "bad"] = "good" if free > TOO_LITTLE_DISK else "bad"
    return Line(state, "runs folder", f"{runs_dir}, {free / 1e9:.0f} GB free")
