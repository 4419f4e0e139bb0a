"""The benchmark's job as processes: nnopt through its command line, a peer through `peers.py`, on the same rows."""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers import BATCH, HIDDEN, RATES

from nnopt.spec.data.downloads import Mnist

AUTO = 0  # threads: what `strategy.threads: auto` takes
LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SPEC = f"""\
name: bench
data: {{kind: mnist}}
model: {{kind: mlp, hidden: [{HIDDEN}], activation: relu}}
loss: {{kind: cross_entropy}}
optimizer: {{kind: OPTIMIZER, lr: RATE}}
strategy: {{batch_size: {BATCH}, threads: THREADS}}
budget: {{epochs: EPOCHS}}
device: cpu
seeds: SEEDS
"""


class BenchError(Exception):
    """A process of the benchmark failed."""


@dataclass(frozen=True)
class Outcome:
    """One training: seconds of each epoch, accuracy on the test rows at the end.

    `accounts` are nnopt's seconds an epoch outside training, by account.
    """

    seconds: tuple[float, ...]
    test_accuracy: float
    threads: int
    accounts: dict[str, float] = field(default_factory=dict)

    @property
    def epoch_seconds(self) -> float:
        """The median epoch without the first, which warms up (alone, it counts)."""
        return statistics.median(self.seconds[1:] or self.seconds)


def environment() -> dict[str, str]:
    """The variables of every process: as the caller's, but thread counts come from the job and data paths are whole."""
    variables = {name: value for name, value in os.environ.items() if name not in LIMITS}
    if root := variables.get("NNOPT_DATA_DIR"):
        variables["NNOPT_DATA_DIR"] = str(Path(root).absolute())
    return variables


def missing_data() -> str | None:
    """Why MNIST is not at hand, or None."""
    return Mnist(kind="mnist").available()


def save_rows(path: Path) -> int:
    """Writes the rows that nnopt trains on, [n, 784], as a file for `peers.py`; the number of training rows."""
    data = Mnist(kind="mnist").load()
    rows = {}
    for name in ("train", "validation", "test"):
        part = getattr(data, name)
        rows[f"{name}_inputs"] = part.inputs.reshape(len(part), -1).numpy()
        rows[f"{name}_targets"] = part.targets.numpy()
    np.savez(path, **rows)
    return len(data.train)


def train_nnopt(optimizer: str, epochs: int, threads: int, seeds: int = 1) -> list[Outcome]:
    """Trains through `nnopt train` with all its logging and checkpoints; one outcome a seed.

    Raises:
        BenchError: the program failed.
    """
    values = {"OPTIMIZER": optimizer, "RATE": RATES[optimizer], "EPOCHS": epochs}
    values |= {"THREADS": threads or "auto", "SEEDS": list(range(seeds))}
    text = SPEC
    for word, value in values.items():
        text = text.replace(word, str(value))
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.yaml"
        config.write_text(text, encoding="utf-8")
        _run("nnopt train", [sys.executable, "-m", "nnopt", "train", str(config), "--runs-dir", folder])
        return [_read_run(Path(folder) / "bench" / optimizer / f"seed-{seed}") for seed in range(seeds)]


def train_peer(name: str, rows: Path, optimizer: str, epochs: int, threads: int, seed: int = 0) -> Outcome:
    """Trains in a process of `peers.py`.

    Raises:
        BenchError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        options = {"rows": rows, "output": output, "optimizer": optimizer}
        options |= {"epochs": epochs, "threads": threads, "seed": seed}
        flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        _run(name, [sys.executable, str(Path(__file__).with_name("peers.py")), name, *flags])
        result = json.loads(output.read_text(encoding="utf-8"))
    return Outcome(tuple(result["seconds"]), result["test_accuracy"], threads)


def _run(name: str, command: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:  # tools leave folders of logs where they run
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=folder, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise BenchError(f"{name} ended with {done.returncode}: {last}")


def _read_run(folder: Path) -> Outcome:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        ends = [float(row["train_seconds"]) for row in csv.DictReader(file)]
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return Outcome(
        seconds=tuple(end - start for start, end in zip([0.0, *ends], ends, strict=False)),
        test_accuracy=summary["test"]["last"]["accuracy"],
        threads=summary["threads"],
        accounts={name: summary["seconds"][name] / len(ends) for name in ("evaluation", "logging", "checkpoint")},
    )
