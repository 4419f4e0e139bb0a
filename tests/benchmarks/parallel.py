"""What a second process brings: one run by two processes (ddp) and eight runs two at a time, beside bare loops.

    python tests/benchmarks/parallel.py [--repeats 5] [--output tests/benchmarks/results/PARALLEL.md]

In a turn all ways go one after the other, each in fresh processes, and a rate is taken over each twenty updates. Two
processes that meet at every update wait whenever another machine's work takes the core of either, which says nothing of
the program: so there are the medians of a turn, and its best twenty updates, those that were disturbed the least. The
machine's own ceiling is measured too: how much more two independent bare loops get done side by side than one alone.
Wants two idle cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import torch
import yaml

WINDOW, WINDOWS = 20, 10  # updates over which a rate is taken, and how many such in a turn after the first
STEPS, BATCH = WINDOW * (WINDOWS + 1), 128
BLOCKS = [{"channels": 16, "kernel": 5, "pool": "max"}, {"channels": 32, "kernel": 5, "pool": "max"}]
SPEC = {
    "name": "parallel",
    "data": {"kind": "mnist"},
    "model": {"kind": "cnn", "blocks": BLOCKS, "hidden": [64]},
    "loss": {"kind": "cross_entropy"},
    "optimizer": {"kind": "sgd", "lr": 0.05},
    "strategy": {"batch_size": BATCH, "threads": 1},
    "budget": {"steps": STEPS},
    "evaluation": {"every": {"steps": WINDOW}},
    "logging": {"layers": False},
    "device": "cpu",
    "seeds": 1,
}
DDP = {"parallel": {"kind": "ddp", "processes": 2}}
RUNS = 8
EIGHT = {
    **SPEC,
    "name": "eight",
    "data": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [64]},
    "strategy": {"batch_size": 32, "threads": 1},
    "budget": {"epochs": 600},
    "evaluation": {"every": {"epochs": 100}},
    "seeds": RUNS,
}


def nnopt(spec: dict, *flags: str) -> tuple[float, Path, tempfile.TemporaryDirectory]:
    """Wall seconds of `nnopt train`, and the runs folder (gone with the last of the three)."""
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "spec.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    runs = Path(folder.name) / "runs"
    command = [sys.executable, "-m", "nnopt", "train", str(file), "--quiet", "--runs-dir", str(runs), *flags]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began, runs, folder


def run_rates(spec: dict) -> list[float]:
    """Updates a second of training between evaluations, those before the first left out."""
    _, runs, folder = nnopt(spec)
    (path,) = runs.glob("*/*/seed-0/metrics.csv")
    rows = pandas.read_csv(path)
    folder.cleanup()
    return [float(rate) for rate in (rows.step.diff() / rows.train_seconds.diff()).dropna()]


def bare(processes: int, together: bool) -> list[float]:
    """Updates a second of a bare torch loop on batches of MNIST's shape; those of all processes where not together."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--bare", folder, str(processes), str(int(together))]
        started = [
            subprocess.Popen([*words, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(processes)
        ]
        found = [[float(rate) for rate in one.communicate()[0].split()] for one in started]
    return [min(rates) if together else sum(rates) for rates in zip(*found, strict=True)]


def bare_loop(folder: str, processes: int, together: bool, rank: int) -> None:
    """Prints the updates a second of one process, window by window."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nn = torch.nn
    model: nn.Module = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    rows = BATCH
    if together and processes > 1:
        meeting = f"file://{folder}/meeting"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
        model, rows = nn.parallel.DistributedDataParallel(model), BATCH // processes
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    inputs, targets = torch.rand(60_000, 1, 28, 28), torch.randint(0, 10, (60_000,))
    began = time.perf_counter()
    for step in range(STEPS):
        if step and step % WINDOW == 0:
            now = time.perf_counter()
            if step > WINDOW:
                print(WINDOW / (now - began))
            began = now
        chosen = torch.randint(0, 60_000, (rows,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
    print(WINDOW / (time.perf_counter() - began))


WAYS: dict[str, Callable[[], list[float]]] = {
    "bare loop, one process": lambda: bare(1, True),
    "bare DDP, two processes": lambda: bare(2, True),
    "two bare loops side by side, sum": lambda: bare(2, False),
    "nnopt, one process": lambda: run_rates(SPEC),
    "nnopt, ddp, two processes": lambda: run_rates({**SPEC, **DDP}),
}
OF = {  # what each is divided by
    "bare DDP, two processes": "bare loop, one process",
    "two bare loops side by side, sum": "bare loop, one process",
    "nnopt, one process": "bare loop, one process",
    "nnopt, ddp, two processes": "nnopt, one process",
}


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Prints the tables, and writes them where told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rates: dict[str, list[list[float]]] = {way: [] for way in WAYS}  # way -> turn -> window
    walls: dict[str, list[float]] = {"one": [], "two": []}
    for _ in range(options.repeats):
        for way, measure in WAYS.items():
            rates[way].append(measure())
            print(f"{way}: {spread(rates[way][-1])} updates a second", file=sys.stderr, flush=True)
        for way, flags in (("one", ()), ("two", ("--jobs", "2"))):
            seconds, _, folder = nnopt(EIGHT, *flags)
            folder.cleanup()
            walls[way].append(seconds)
            print(f"eight runs, {way} at a time: {seconds:.1f} s", file=sys.stderr, flush=True)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    lines = [
        f"{machine}, one thread a process, n = {options.repeats} turns; medians and ranges.",
        "",
        "| the CNN on MNIST, batch 128 | updates a second, medians of turns | best | ratio of medians | of best | to |",
        "|---|---|---|---|---|---|",
    ]
    for way, turns in rates.items():
        middles, bests = [statistics.median(turn) for turn in turns], [max(turn) for turn in turns]
        ratios = ["", ""]
        if of := OF.get(way):
            ratios = [
                spread([a / b(other) for a, other in zip(values, rates[of], strict=True)])
                for values, b in ((middles, statistics.median), (bests, max))
            ]
        lines.append(f"| {way} | {spread(middles)} | {spread(bests)} | {ratios[0]} | {ratios[1]} | {of or ''} |")
    shares = [two / one for one, two in zip(walls["one"], walls["two"], strict=True)]
    lines += [
        "",
        "| eight runs on digits, whole commands | seconds | ratio |",
        "|---|---|---|",
        f"| one after the other | {spread(walls['one'])} | |",
        f"| `--jobs 2` | {spread(walls['two'])} | {spread(shares)} |",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        folder, processes, together, rank = sys.argv[2:]
        bare_loop(folder, int(processes), bool(int(together)), int(rank))
    else:
        main()
