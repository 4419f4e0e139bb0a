"""Joules that training takes, where the machine counts them.

- RAPL: the counters of processor packages that Linux shows under /sys/class/powercap (Intel, and AMD since Zen). A
  counter is of the whole package, and the packages together of the whole machine: what other programs take while a
  run trains is in its energy, so that it compares only for runs that had the machine to themselves.
- NVML: the counter of an NVIDIA GPU, through the package pynvml (nvidia-ml-py); it too counts other programs on that
  GPU, and neither processor nor memory of the host.

A run on the CPU is measured by RAPL, one on CUDA by NVML. Energy is no promise of bits: no two runs take the same.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
# Zones below a package (cores, memory) have a second number and are part of it; `psys` holds the packages.
PACKAGE_ZONE = re.compile(r"intel-rapl:\d+")
UNMEASURED = "a part of the run was trained without a measurement"


class Counter(ABC):
    """A count of energy that only rises, except where it wraps around."""

    name: str

    @abstractmethod
    def read(self) -> int:
        """The count now.

        Raises:
            OSError, ValueError: it cannot be read.
        """

    @abstractmethod
    def joules(self, before: int, after: int) -> float:
        """The energy between two counts."""


@dataclass(frozen=True)
class Rapl(Counter):
    """A processor package: microjoules in a file, from 0 again after `largest`."""

    name: str
    file: Path
    largest: int

    def read(self) -> int:
        """As `Counter.read`."""
        return int(self.file.read_bytes())

    def joules(self, before: int, after: int) -> float:
        """As `Counter.joules`, with at most one wrap-around between the two."""
        return (after - before + (self.largest if after < before else 0)) / 1e6


@dataclass(frozen=True)
class Nvml(Counter):
    """A GPU: millijoules since its driver was loaded (Volta and later)."""

    library: Any
    handle: Any
    name: str = "nvml"

    def read(self) -> int:
        """As `Counter.read`."""
        try:
            return int(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except self.library.NVMLError as error:
            raise OSError(str(error)) from None

    def joules(self, before: int, after: int) -> float:
        """As `Counter.joules`."""
        return (after - before) / 1e3


class EnergyMeter:
    """Adds up what counters count between `start` and `stop`, over all sittings of a run.

    `reason` says in words why there is no number; from then on, and in all later sittings, there is none.
    """

    def __init__(self, counters: Sequence[Counter] = (), reason: str = "") -> None:
        self.counters = tuple(counters)
        self.reason = reason
        self._joules = 0.0
        self._sources = [counter.name for counter in counters]
        self._before: list[int] = []

    @property
    def joules(self) -> float | None:
        """What the counters have counted so far; None where they could not."""
        return None if self.reason else self._joules

    @property
    def source(self) -> str | None:
        """The counters' names: `rapl package-0`, `nvml`."""
        return None if self.reason else ", ".join(self._sources)

    def start(self) -> None:
        """From here on energy is counted.

        `stop` follows before a counter can wrap around twice, which takes it minutes at the least: a run on the CPU
        leaves its account several times a second.
        """
        self.stop()
        self._before = self._read()

    def stop(self) -> None:
        """Adds what was counted since `start`."""
        if not self._before:
            return
        before, now = self._before, self._read()
        self._joules += sum(
            counter.joules(*counts) for counter, *counts in zip(self.counters, before, now, strict=False)
        )
        self._before = []

    def _read(self) -> list[int]:
        try:
            return [counter.read() for counter in self.counters]
        except (OSError, ValueError) as error:
            self._give_up(f"a counter could not be read any more: {error}")
            return []

    def _give_up(self, reason: str) -> None:
        self.counters, self.reason, self._before = (), reason, []

    def state_dict(self) -> dict[str, Any]:
        """What was counted so far, `stop` having been called."""
        return {"joules": self._joules, "sources": list(self._sources), "reason": self.reason}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Goes on from what `state_dict` gave; None: the first sitting did not measure."""
        if state is None:
            self._give_up(self.reason or UNMEASURED)
        elif state["reason"]:
            self._give_up(state["reason"])
        elif self.reason:
            self._give_up(f"{UNMEASURED}: {self.reason}")
        else:
            self._joules = float(state["joules"])
            self._sources = list(dict.fromkeys([*state["sources"], *self._sources]))


def open_meter(device: torch.device, root: Path | None = None) -> EnergyMeter:
    """The meter for runs on `device`; `root` is the folder of RAPL's zones, /sys/class/powercap by default."""
    if device.type == "cuda":
        return _open_nvml(device)
    if device.type == "cpu":
        return _open_rapl(root or POWERCAP)
    return EnergyMeter(reason=f"no counter of energy is known for device {device.type}")


def _open_rapl(root: Path) -> EnergyMeter:
    zones = sorted(root.iterdir()) if root.is_dir() else []
    try:
        named = {zone: (zone / "name").read_text().strip() for zone in zones if PACKAGE_ZONE.fullmatch(zone.name)}
        counters = [
            Rapl(f"rapl {name}", zone / "energy_uj", int((zone / "max_energy_range_uj").read_text()))
            for zone, name in named.items()
            if name.startswith("package")
        ]
        for counter in counters:
            counter.read()
    except PermissionError as error:
        # So since Linux 5.10, because the energy of a computation gives its secrets away (CVE-2020-8694).
        return EnergyMeter(reason=f"only root may read {error.filename}: `chmod a+r` on it, as root, lets all read it")
    except (OSError, ValueError) as error:
        return EnergyMeter(reason=f"the RAPL counters in {root} cannot be read: {error}")
    if not counters:
        return EnergyMeter(reason=f"no RAPL counter in {root}: the processor has none, or a virtual machine hides it")
    return EnergyMeter(counters)


def _open_nvml(device: torch.device) -> EnergyMeter:
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return EnergyMeter(reason="the package nvidia-ml-py (pynvml) is not installed")
    try:
        nvml.nvmlInit()
        # By UUID: torch counts the GPUs that it may use, NVML all.
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        counter = Nvml(nvml, handle)
        counter.read()
    except (nvml.NVMLError, OSError) as error:
        return EnergyMeter(reason=f"NVML counts no energy on {device}: {error}")
    return EnergyMeter([counter])
