"""What tests that train share: runs from a few keys, real processes that start fast, and the comparison of bits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from command_line import PATIENCE, SMALL

from nnopt.plan import Plan, RunSpec
from nnopt.spec.loading import load
from nnopt.spec.merge import merge
from nnopt.store.record import RunRecord
from nnopt.train import checkpoint
from nnopt.train.experiment import Options, train_plan
from nnopt.train.listener import Listener
from nnopt.train.output import Tables
from nnopt.train.session import Session
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.signals import StopRequest
from nnopt.train.state import TrainState
from nnopt.train.updating import InTurn

# Trains in some hundredths of a second: 1222 training images, 20 steps an epoch, the last of 6 samples.
DIGITS: dict[str, Any] = {**SMALL, "logging": {"every": 1}, "device": "cpu"}
SAMPLES, STEPS_AN_EPOCH = 1222, 20
CACHE = DataCache()


def copies_below(program: psutil.Process) -> list[psutil.Process]:
    """The workers of a program, copies of a child that has imported everything, the oldest first."""
    found = []
    for child in program.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while it was looked at
            if all(one and "forkserver" in " ".join(one.cmdline()) for one in (child, child.parent())):
                found.append(child)
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def write_digits(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """A spec file with `changes` merged over DIGITS."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(merge(DIGITS, changes or {}), sort_keys=False))
    return path


def plan_of(folder: Path, changes: dict[str, Any] | None = None) -> Plan:
    """The plan of DIGITS with `changes` merged over it."""
    return Plan.of(load(write_digits(folder, changes)))


def fit(
    folder: Path, changes: dict[str, Any] | None = None, listener: Listener | None = None, **options: bool
) -> list[RunRecord]:
    """Trains in this process; runs lie below `folder`."""
    plan = plan_of(folder, changes)
    return train_plan(plan, Options(folder / "runs", **options), listener or Listener(), CACHE)


def fit_one(folder: Path, changes: dict[str, Any] | None = None, listener: Listener | None = None) -> RunRecord:
    """Trains the one run of a spec, which must end as `done`."""
    (record,) = fit(folder, changes, listener)
    assert record.status == "done", record.summary["reason"]
    return record


def prepare(folder: Path, changes: dict[str, Any] | None = None) -> tuple[RunSpec, Setup, TrainState]:
    """The first run of a spec, built and not trained."""
    run = plan_of(folder, changes).runs[0]
    return run, *build(run, CACHE)


def open_session(folder: Path, changes: dict[str, Any] | None = None, listener: Listener | None = None) -> Session:
    """A run at its beginning, ready for nnopt.train.loop.train, whose inner parts a test may look at or replace."""
    run, setup, state = prepare(folder, changes)
    (folder / checkpoint.FOLDER).mkdir()
    tables = Tables(folder, setup.metrics)
    tables.begin(None)
    return Session(
        run=run,
        setup=setup,
        state=state,
        folder=folder,
        tables=tables,
        listener=listener or Listener(),
        stop=StopRequest(),
        engine=InTurn(),
    )


@dataclass
class StopAfter(Listener):
    """Sends a signal to this process when so many rows were written, counted over the listener's life."""

    rows: int
    number: int = signal.SIGTERM
    seen: int = 0

    def row(self, label: str, row: dict[str, Any]) -> None:
        self.seen += 1
        if self.seen == self.rows:
            os.kill(os.getpid(), self.number)


@dataclass
class Told(Listener):
    """Keeps what it is told."""

    words: list[tuple[Any, ...]] = field(default_factory=list)

    def skipped(self, label: str, status: str) -> None:
        self.words.append(("skipped", label, status))

    def started(self, label: str, from_step: int) -> None:
        self.words.append(("started", label, from_step))

    def note(self, label: str, text: str) -> None:
        self.words.append(("note", label, text))

    def ended(self, label: str, status: str, reason: str) -> None:
        self.words.append(("ended", label, status, reason))


# ---------------------------------------------------------------------------------------------------- bits


def same_in_two_runs(column: str) -> bool:
    """Whether DESIGN.md promises a column to be equal in two runs of one spec."""
    return not column.endswith(("_seconds", "_per_second")) and not column.startswith("memory_")


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as texts, without the columns that may differ between two runs."""
    header, *lines = path.read_text().splitlines()
    names = header.split(",")
    cells = [line.split(",") for line in lines]
    assert all(len(row) == len(names) for row in cells)
    return [{name: cell for name, cell in zip(names, row, strict=True) if same_in_two_runs(name)} for row in cells]


def state_of(folder: Path, name: str = checkpoint.LAST) -> dict[str, Any]:
    """The state in a run's checkpoint, without seconds, energy and memory."""
    content = checkpoint.load(folder / checkpoint.FOLDER / name)
    state = content.get("state", content)
    state = {key: value for key, value in state.items() if key not in ("seconds", "energy", "identity")}
    return _without_times(state)


def _without_times(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_times(item) for key, item in value.items() if same_in_two_runs(str(key))}


def weights_of(folder: Path, name: str = checkpoint.LAST) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint by name."""
    return dict(state_of(folder, name)["model"])


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    """Nested values are equal to the last bit."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_equal(left, right, f"{where}/{index}")
    else:
        assert a == b or (a != a and b != b), f"{where}: {a} and {b}"


def assert_same_bits(a: Path, b: Path) -> None:
    """Two run folders agree to the last bit in curves, weights, the whole state, and results."""
    for name in ("metrics.csv", "steps.csv"):
        left, right = rows_of(a / name), rows_of(b / name)
        assert [row["step"] for row in left] == [row["step"] for row in right], name
        for one, other in zip(left, right, strict=True):
            assert one == other, name
    for name in (checkpoint.LAST, checkpoint.BEST):
        assert_equal(state_of(a, name), state_of(b, name), name)
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (a, b))
    for key in ("status", "reason", "metrics", "test", "steps", "samples", "gradient_evaluations", "threads"):
        assert_equal(ours[key], theirs[key], key)


# ------------------------------------------------------------------------------------------------ processes


@dataclass
class Process:
    """An `nnopt` process that a Starter made."""

    starter: Starter
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def send(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        if self.code is None:
            self.code = self.starter.ask({"poll": self.pid})
        return self.code

    def wait(self) -> int:
        """Waits for the end."""
        wait_for(lambda: self.poll() is not None)
        assert self.code is not None
        return self.code

    @property
    def stdout(self) -> str:
        """What it printed so far."""
        return self.out.read_text()

    @property
    def stderr(self) -> str:
        """What it reported so far."""
        return self.err.read_text()


class Starter:
    """Starts real `nnopt` processes, each within milliseconds (see starter.py)."""

    def __init__(self) -> None:
        self.count = 0
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("starter.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> Any:
        """Sends a request and returns the answer."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, folder: Path, *args: object, runs: Path | None = None, file_limit: int | None = None) -> Process:
        """Begins `nnopt ARGS` in `folder`, `file_limit`: bytes that a file may grow to."""
        self.count += 1
        out, err = folder / f"out-{self.count}", folder / f"err-{self.count}"
        out.touch()  # so that both can be read before the process has opened them
        err.touch()
        request = {
            "args": [str(arg) for arg in args],
            "cwd": str(folder),
            "runs": str(runs or folder / "runs"),
            "out": str(out),
            "err": str(err),
            "file_limit": file_limit,
        }
        return Process(self, self.ask(request), out, err)

    def run(self, folder: Path, *args: object, code: int = 0, **options: Any) -> Process:
        """As `start`, and waits for the end, which must have this exit code."""
        process = self.start(folder, *args, **options)
        assert process.wait() == code, process.stderr
        return process

    def close(self) -> None:
        """Ends the server."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(timeout=30)
        assert self.server.stdout is not None
        self.server.stdout.close()


def started() -> Iterator[Starter]:
    """The body of a fixture."""
    starter = Starter()
    yield starter
    starter.close()


def wait_for(condition: Callable[[], Any], pause: float = 0.002) -> Any:
    """Waits until `condition()` holds, and gives its value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        if pause:
            time.sleep(pause)
    return value


def summary_of(folder: Path) -> dict[str, Any]:
    """summary.json of a run."""
    return dict(json.loads((folder / "summary.json").read_text()))
