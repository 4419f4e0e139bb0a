"""Times the ways to train on an accelerator, nnopt beside the bare loop that does the same on the same device.

    python tests/benchmarks/accelerator.py [--device cuda] [--pairs 5] [--steps 2000] [--tasks ...] [--ways ...]

Each way (eager, compiled, recorded as a graph; fp32, tf32, bf16; channels last) is trained in turns by
`nnopt train` and by a loop written by hand (bare_loop.py), each in a process of its own. Ways that the device does not
have are passed over. Writes accelerator-DEVICE.md and .csv into results/ (or --output). `--device cpu --steps 30
--pairs 1` tries it where there is no accelerator.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.metadata
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from job import BenchError, environment

from nnopt.train.abilities import Abilities, describe_device
from nnopt.train.devices import find_device, name_of
from nnopt.train.environment import processor

HERE = Path(__file__).parent
STRETCHES = 5  # pieces in which a training is timed; the first, which warms up, is left out
SGD = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}
TASKS: dict[str, dict[str, Any]] = {
    "mnist-perceptron": {
        "data": {"kind": "mnist"},
        "model": {"kind": "mlp", "hidden": [128]},
        "optimizer": {"kind": "adam", "lr": 0.001},
    },
    "mnist-cnn": {
        "data": {"kind": "mnist"},
        "model": {"kind": "cnn", "blocks": [{"channels": 32, "pool": "max"}, {"channels": 64, "pool": "max"}]},
        "optimizer": {"kind": "adam", "lr": 0.001},
    },
    "cifar10-resnet": {
        "data": {"kind": "cifar10"},
        "model": {"kind": "resnet", "depth": 20, "width": 16},
        "optimizer": SGD,
    },
}
BATCHES = {"cpu": 128}  # elsewhere 512: what a small GPU needs to have something to do
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "bf16 channels_last": {"precision": "bf16", "channels_last": True},
    "fp32 compile": {"compile": True},
    "bf16 compile": {"precision": "bf16", "compile": True},
    "fp32 graph": {"graph": True},
    "tf32 graph": {"precision": "tf32", "graph": True},
    "bf16 graph": {"precision": "bf16", "graph": True},
    "bf16 graph compile channels_last": {
        "precision": "bf16",
        "graph": True,
        "compile": True,
        "channels_last": True,
    },
}


@dataclass(frozen=True)
class Row:
    """One way on one task: milliseconds of an update, medians over the turns; the ratio pair by pair."""

    task: str
    way: str
    nnopt_ms: float
    bare_ms: float
    ratio: float
    lowest: float
    highest: float
    turns: int
    samples_per_second: float
    memory_mib: float


def main() -> int:
    """Measures and writes the tables; 1 where a process failed."""
    options = parse()
    device = find_device(options.device)
    output = options.output or HERE / "results"
    rows: list[Row] = []
    passed: list[str] = []
    for task in options.tasks:
        for way in options.ways:
            reason = lacks(task, way, device)
            if reason:
                passed.append(f"{task}, {way}: {reason}")
                continue
            try:
                rows.append(measure(task, way, device, options.pairs, options.steps))
            except BenchError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            print(rows[-1], file=sys.stderr)
    text = report(device, options, rows, passed)
    print(text)
    output.mkdir(parents=True, exist_ok=True)
    stem = f"accelerator-{device.type}"
    (output / f"{stem}.md").write_text(text, encoding="utf-8")
    with (output / f"{stem}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time the ways to train on an accelerator beside bare loops.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=5, help="turns of nnopt and the bare loop")
    parser.add_argument("--steps", type=int, default=2000, help=f"updates of each, in {STRETCHES} timed stretches")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--output", type=Path, help="folder of the tables")
    options = parser.parse_args()
    if options.pairs < 1 or options.steps < STRETCHES:
        parser.error(f"--pairs is at least 1, --steps at least {STRETCHES}")
    return options


def lacks(task: str, way: str, device: torch.device) -> str | None:
    """Why a way is not for this task or device, or None."""
    keys, can = WAYS[way], Abilities.of(device).can
    wanted = [keys.get("precision", "fp32"), *(key for key in ("graph", "compile") if keys.get(key))]
    missing = [name for name in wanted if name != "fp32" and name not in can]
    if missing:
        return f"{device.type} has no {', '.join(missing)} here"
    if keys.get("graph") and device.type != "cuda":
        return "the bare loop records CUDA graphs alone"
    if keys.get("channels_last") and TASKS[task]["model"]["kind"] == "mlp":
        return "no convolution"
    return None


def measure(task: str, way: str, device: torch.device, pairs: int, steps: int) -> Row:
    """nnopt and the bare loop in turns."""
    batch = BATCHES.get(device.type, 512)
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "bench.yaml"
        spec.write_text(yaml.safe_dump(settings(task, way, device, batch, steps)), encoding="utf-8")
        found: list[tuple[float, float]] = []
        memory = 0.0
        for turn in range(pairs):
            runs = Path(folder) / f"runs-{turn}"
            _run([sys.executable, "-m", "nnopt", "train", str(spec), "--runs-dir", str(runs), "--quiet"])
            summary = json.loads(next(runs.glob("bench/*/seed-0/summary.json")).read_text(encoding="utf-8"))
            memory = max(memory, summary["memory_peak_bytes"] / 2**20)
            own = seconds_of_run(next(runs.glob("bench/*/seed-0/metrics.csv")))
            numbers = [str(STRETCHES), str(summary["threads"])]
            said = _run([sys.executable, str(HERE / "bare_loop.py"), str(spec), *numbers])
            found.append((own, statistics.median(json.loads(said)[1:])))
    ratios = [own / bare for own, bare in found]
    own, bare = (statistics.median(column) for column in zip(*found, strict=True))
    return Row(
        task=task,
        way=way,
        nnopt_ms=1000 * own,
        bare_ms=1000 * bare,
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        turns=pairs,
        samples_per_second=batch / own,
        memory_mib=memory,
    )


def settings(task: str, way: str, device: torch.device, batch: int, steps: int) -> dict[str, Any]:
    """The spec of one way, evaluated once a stretch."""
    stretch = steps // STRETCHES
    return {
        "name": "bench",
        **TASKS[task],
        "loss": {"kind": "cross_entropy"},
        "strategy": {"batch_size": batch, **WAYS[way]},
        "budget": {"steps": stretch * STRETCHES},
        "evaluation": {"every": {"steps": stretch}},
        "checkpoint": {"best": False},
        "device": str(device),
        "seeds": 1,
    }


def seconds_of_run(metrics: Path) -> float:
    """Training seconds an update: the median stretch without the first."""
    with metrics.open(newline="", encoding="utf-8") as file:
        points = [(float(row["step"]), float(row["train_seconds"])) for row in csv.DictReader(file)]
    pairs = itertools.pairwise(points)
    return statistics.median((later[1] - before[1]) / (later[0] - before[0]) for before, later in pairs)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command[1:4])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def report(device: torch.device, options: argparse.Namespace, rows: list[Row], passed: list[str]) -> str:
    """The table as Markdown, with what it was measured on."""
    name = name_of(device) or processor()
    lines = [
        "# Ways to train on an accelerator",
        "",
        f"- date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        f"- device: {name}; {describe_device(str(device)) if device.type != 'cpu' else Abilities.of(device)}",
        f"- versions: torch {torch.__version__}, nnopt {importlib.metadata.version('nnopt')}",
        f"- n = {options.pairs} turns, {options.steps} updates of {BATCHES.get(device.type, 512)} samples each",
        "",
        "Milliseconds of an update (gathering, forward, backward, step): medians of the turns. The ratio is nnopt's",
        "time by that of the bare loop of the same kind, turn by turn. Memory is the most that nnopt's process took.",
        "",
        "| task | way | nnopt ms | bare ms | ratio | lowest | highest | n | samples/s | MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        numbers = f"{row.nnopt_ms:.3f} | {row.bare_ms:.3f} | **{row.ratio:.2f}** | {row.lowest:.2f} | {row.highest:.2f}"
        end = f"{row.turns} | {row.samples_per_second:,.0f} | {row.memory_mib:,.0f}"
        lines.append(f"| {row.task} | {row.way} | {numbers} | {end} |")
    if passed:
        lines += ["", "Passed over:", "", *(f"- {line}" for line in passed)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
