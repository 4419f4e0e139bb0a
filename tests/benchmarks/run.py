"""Times nnopt beside the loops one would write or pick instead: `make bench`.

    python tests/benchmarks/run.py [--pairs 5] [--epochs 3] [--threads 0 1] [--only bare jax accuracy frontend sweep]

Prints Markdown tables and writes them to results/RESULTS.md (with --only: nowhere, unless --output names a file).
Take a machine that does nothing else. Without MNIST at hand only the front end and sweeps are timed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import sys
import tempfile
from pathlib import Path

import tables
from frontend import measure_front_end
from job import AUTO, BenchError, missing_data, save_rows
from pairs import measure, measure_accuracy
from peers import PEERS, RATES
from sweep import measure_sweep

RESULTS = Path(__file__).parent / "results" / "RESULTS.md"
OTHERS = ("accuracy", "frontend", "sweep")
WITHOUT_MNIST = {"frontend", "sweep"}
ACCURACY_EPOCHS, ACCURACY_SEEDS = 10, 5


def main() -> int:
    """Measures what was asked for; 1 where nnopt itself failed."""
    options = parse()
    wanted = options.only or [*PEERS, *OTHERS]
    output = options.output or (None if options.only else RESULTS)
    sections = [tables.header(options.pairs, options.epochs)]
    skipped: list[str] = []
    try:
        if not WITHOUT_MNIST.issuperset(wanted):
            if reason := missing_data():
                print(f"passed over all training: {reason}", file=sys.stderr)
                skipped.append(f"all training: {reason}")
                output = options.output  # a full table is not replaced by a part of one
            else:
                found, skipped = train(wanted, options)
                sections += found
        if "frontend" in wanted:
            sections.append(tables.front_end(measure_front_end()))
        if "sweep" in wanted:
            sections.append(tables.sweeping(measure_sweep()))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if skipped:
        sections.append(tables.passed_over(skipped))
    text = "\n".join(sections)
    print(text)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        print(f"written: {output}", file=sys.stderr)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time nnopt beside other ways to train.")
    parser.add_argument("--pairs", type=int, default=5, help="turns of nnopt and each peer")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each; the first is left out")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[AUTO], help="thread counts of both; 0: what nnopt's auto takes"
    )
    parser.add_argument("--optimizers", nargs="+", choices=RATES, default=list(RATES))
    parser.add_argument(
        "--only", nargs="+", choices=[*PEERS, *OTHERS], metavar="NAME", help=", ".join([*PEERS, *OTHERS])
    )
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    if min(options.pairs, options.epochs) < 1 or min(options.threads) < 0:
        parser.error("--pairs and --epochs are at least 1, --threads at least 0")
    return options


def train(wanted: list[str], options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The sections on training, and a line for each peer that is not installed."""
    sections = []
    peers = [name for name in PEERS if name in wanted]
    skipped = [line for name in peers if (line := missing_packages(name))]
    peers = [name for name in peers if not missing_packages(name)]
    for line in skipped:
        print(f"passed over {line}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        count = save_rows(rows)
        pairs = [
            measure(peer, optimizer, rows, count, options.pairs, options.epochs, threads)
            for threads in options.threads
            for optimizer in options.optimizers
            for peer in peers
        ]
        if pairs:
            sections.append(tables.speed(pairs))
        if "accuracy" in wanted:
            accuracies = [
                measure_accuracy(optimizer, rows, ACCURACY_EPOCHS, ACCURACY_SEEDS) for optimizer in options.optimizers
            ]
            sections.append(tables.accuracy(accuracies))
    return sections, skipped


def missing_packages(peer: str) -> str | None:
    """How to install what a peer lacks, or None."""
    missing = [name for name in PEERS[peer].needs if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    # torch is named so that pip keeps the version that is there.
    torch = importlib.metadata.version("torch").partition("+")[0]
    return f"{PEERS[peer].title}: pip install torch=={torch} {' '.join(missing)}"


if __name__ == "__main__":
    sys.exit(main())
