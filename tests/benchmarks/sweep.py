"""What many small runs pay for being separate: `nnopt sweep` of a hundred trials beside as many `nnopt train`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from job import BenchError, environment

TRIALS, JOBS, EPOCHS = 100, 2, 20
GOAL = 0.1  # of the time of as many processes, one after the other
SPEC = f"""\
name: many
data: {{kind: digits}}
model: {{kind: mlp, hidden: [64]}}
loss: {{kind: cross_entropy}}
optimizer: {{kind: sgd, lr: 0.1}}
strategy: {{batch_size: 32}}
budget: {{epochs: {EPOCHS}}}
device: cpu
seeds: 1
"""
SEARCH = f"""\
search:
  space: {{optimizer.lr: {{log: [1.0e-3, 1]}}}}
  sampler: {{kind: random}}
  trials: {TRIALS}
"""


@dataclass(frozen=True)
class SweepTimes:
    """Wall seconds: of whole sweeps, and a process of `nnopt train`, alone and with another beside it."""

    sweeps: tuple[float, ...]
    alone: tuple[float, ...]
    side_by_side: tuple[float, ...]  # the seconds of a pair, halved


def measure_sweep(sweeps: int = 3, processes: int = 6) -> SweepTimes:
    """Times sweeps and processes in turns, after a process that is not counted.

    Raises:
        BenchError: a command failed.
    """
    found: dict[str, list[float]] = {"sweeps": [], "alone": [], "side by side": []}
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        one, many = top / "one.yaml", top / "many.yaml"
        one.write_text(SPEC, encoding="utf-8")
        many.write_text(SPEC + SEARCH, encoding="utf-8")
        count = 0

        def train(at_once: int) -> float:
            nonlocal count
            count += at_once
            folders = [top / f"runs-{number}" for number in range(count - at_once, count)]
            return _seconds([["train", str(one), "--runs-dir", str(folder), "--quiet"] for folder in folders])

        train(1)
        for turn in range(sweeps):
            runs = top / f"sweep-{turn}"
            command = ["sweep", str(many), "--runs-dir", str(runs), "--jobs", str(JOBS), "--quiet"]
            found["sweeps"].append(_seconds([command]))
            trials = len(list(runs.glob("*/*/trial-*/seed-*/summary.json")))
            if trials != TRIALS:
                raise BenchError(f"the sweep left {trials} trials, not {TRIALS}")
            for _ in range(-(-processes // sweeps)):
                found["alone"].append(train(1))
                found["side by side"].append(train(JOBS) / JOBS)
    return SweepTimes(*(tuple(seconds) for seconds in found.values()))


def _seconds(commands: list[list[str]]) -> float:
    """Wall seconds until `nnopt` processes that are started together have ended."""
    start = time.perf_counter()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "nnopt", *words],
            env=environment(),
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for words in commands
    ]
    errors = [process.communicate()[1] for process in processes]
    seconds = time.perf_counter() - start
    for process, error, words in zip(processes, errors, commands, strict=True):
        if process.returncode:
            raise BenchError(f"nnopt {words[0]} ended with {process.returncode}: {error.strip()[-300:]}")
    return seconds
