"""Where and with what a run was made: environment.json."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from nnopt.spec.base import KindSpec, Spec
from nnopt.surroundings import cores
from nnopt.train.devices import name_of
from nnopt.train.setup import Setup
from nnopt.version import __version__

PACKAGES = ("torch", "numpy", "pandas", "scipy", "scikit-learn", "pydantic")
MAX_DIFF = 200_000  # characters of `git diff` kept


def describe(setup: Setup) -> dict[str, Any]:
    """Versions, device, threads, git state, host, and hashes of the data and of code from elsewhere."""
    return {
        **_process(),
        "git": _git(),
        "device": str(setup.device),
        "device_name": _device_name(setup.device),
        "threads": setup.threads,
        "data": {"kind": setup.settings.data.kind, "sha256": setup.data.content_hash},
        "plugins": plugin_hashes(setup.settings),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """What of `describe` tells whether two runs had the same hardware and versions: the summary keeps it too."""
    process = _process()
    kept = {key: process[key] for key in ("host", "processor", "cores", "nnopt", "python")}
    return {**kept, "torch": process["packages"]["torch"], "device_name": _device_name(device)}


def plugin_hashes(spec: Spec) -> dict[str, str]:
    """SHA-256 of the source file of every part that does not come with nnopt, by module."""
    found: dict[str, str] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Spec):
            found |= plugin_hashes(value)
    module = type(spec).__module__
    if isinstance(spec, KindSpec) and module.partition(".")[0] != "nnopt":
        source = inspect.getsourcefile(type(spec))
        if source and Path(source).is_file():
            found[module] = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return found


@functools.cache
def _process() -> dict[str, Any]:
    return {
        "nnopt": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "host": platform.node(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


@functools.cache
def processor() -> str:
    """What the CPU calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device_name(device: torch.device) -> str:
    return name_of(device) or (processor() if device.type == "cpu" else device.type)


@functools.cache
def _git() -> dict[str, Any] | None:
    """Commit and uncommitted changes of the checkout one works in, or None outside of one."""

    def run(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, errors="replace", timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    commit = run("rev-parse", "HEAD")
    if commit is None:
        return None
    diff = run("diff", "HEAD") or ""
    return {"commit": commit.strip(), "diff": diff[:MAX_DIFF], "diff_cut": len(diff) > MAX_DIFF}
