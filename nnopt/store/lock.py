"""One writer a run: a lock that ends with its process, and a note of who holds it."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from nnopt.errors import HeldError
from nnopt.store.files import refusals, write_json

LOCK = ".lock"
HOLDER = ".holder.json"
WORKER = "NNOPT_WORKER"  # environment: the name of a worker that was started on another machine


class RunLock:
    """Holds a run's folder for writing while the `with` block lasts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = FileLock(folder / LOCK, timeout=0)

    def __enter__(self) -> RunLock:
        with refusals(self.folder):
            try:
                self.lock.acquire()
            except Timeout:  # an OSError, but no refusal of the disk
                raise HeldError(
                    f"{self.folder} is being written by {_who(self.folder)}; wait for it or stop it"
                ) from None
        write_json(self.folder / HOLDER, _this_process(), sync=False)  # no process outlives a power cut
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.folder / HOLDER).unlink(missing_ok=True)
        self.lock.release()


def holder_lives(folder: Path) -> bool:
    """Whether the process that last took the folder is still there (one on another host is believed)."""
    holder = _read_holder(folder)
    if holder is None:
        return False
    if holder.get("host") != platform.node():
        return True
    import psutil

    try:
        process = psutil.Process(int(holder["pid"]))
        same = abs(process.create_time() - float(holder["process_started"])) < 2  # not a later one with its number
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, KeyError, ValueError):
        return False


def wait_until_free(folder: Path, seconds: float) -> None:
    """Waits, so long at most, until nobody holds the folder: a process that was given up may still be ending."""
    end = time.monotonic() + seconds
    while folder.is_dir() and time.monotonic() < end:
        try:
            with FileLock(folder / LOCK, timeout=0):
                return
        except OSError:
            time.sleep(0.1)


def forget_holder(folder: Path, worker: str) -> None:
    """Frees the folder of a worker that is lost: it is no longer believed to be at work.

    A file system over the network may keep the lock of a machine that is gone: the next holder makes a new file.
    """
    holder = _read_holder(folder)
    if holder is None or holder.get("worker") != worker:
        return
    if holder.get("host") != platform.node():
        (folder / LOCK).unlink(missing_ok=True)
    (folder / HOLDER).unlink(missing_ok=True)


def _this_process() -> dict[str, Any]:
    import psutil

    process = psutil.Process()
    return {
        **({"worker": os.environ[WORKER]} if WORKER in os.environ else {}),
        "pid": os.getpid(),
        "host": platform.node(),
        "process_started": process.create_time(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
    }


def _read_holder(folder: Path) -> dict[str, Any] | None:
    try:
        holder = json.loads((folder / HOLDER).read_text())
    except (OSError, ValueError):
        return None
    return holder if isinstance(holder, dict) else None


def _who(folder: Path) -> str:
    holder = _read_holder(folder)
    if holder is None:
        return "another program"
    return f"process {holder.get('pid')} on {holder.get('host')} ({holder.get('command')})"
