"""What `--on ray` costs beside `--jobs`: eight runs of some ten seconds, two at a time, each way in turn.

Takes whole commands, from their start to their exit, Ray's own start and end included; and apart from that the seconds
from the first run's start to the last one's end, which say what Ray costs while it trains. Wants two idle cores:

    python tests/benchmarks/cluster.py [REPEATS]
"""

from __future__ import annotations

import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from job import BenchError

RUNS, JOBS, EPOCHS = 8, 2, 2000
GOAL = 1.15  # times the seconds of --jobs
SPEC = f"""\
name: eight
data: {{kind: digits}}
model: {{kind: mlp, hidden: [64]}}
loss: {{kind: cross_entropy}}
optimizer: {{kind: sgd, lr: 0.1}}
strategy: {{batch_size: 32, threads: 1}}
budget: {{epochs: {EPOCHS}}}
evaluation: {{every: {{epochs: 100}}}}
device: cpu
seeds: {RUNS}
"""
WAYS = {"--jobs": [], "--on ray": ["--on", "ray"]}


@dataclass(frozen=True)
class ClusterTimes:
    """Wall seconds of whole commands and of their runs, by how they were given; and of the training of one run."""

    seconds: dict[str, list[float]]
    of_runs: dict[str, list[float]]
    run_seconds: float

    @property
    def ratio(self) -> float:
        """Ray over processes, medians."""
        return statistics.median(self.seconds["--on ray"]) / statistics.median(self.seconds["--jobs"])


def measure_cluster(repeats: int = 3, ways: tuple[str, ...] = ("--jobs", "--on ray")) -> ClusterTimes:
    """Times commands in turns.

    Raises:
        BenchError: a command failed.
    """
    found: dict[str, list[float]] = {way: [] for way in ways}
    of_runs: dict[str, list[float]] = {way: [] for way in ways}
    run_seconds = 0.0
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        spec = top / "eight.yaml"
        spec.write_text(SPEC, encoding="utf-8")
        for turn in range(repeats):
            for place, way in enumerate(ways):
                runs = top / f"runs-{turn}-{place}"
                command = [sys.executable, "-m", "nnopt", "train", str(spec), "--quiet", "--runs-dir", str(runs)]
                command += ["--jobs", str(JOBS), *WAYS[way]]
                began = time.perf_counter()
                done = subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise BenchError(f"{way}: {done.stderr.strip()}")
                found[way].append(time.perf_counter() - began)
                of_runs[way].append(_seconds_of_runs(runs))
                run_seconds = _train_seconds(runs)
                print(f"{way}: {found[way][-1]:.1f} s, runs {of_runs[way][-1]:.0f} s", file=sys.stderr, flush=True)
    return ClusterTimes(found, of_runs, run_seconds)


def _seconds_of_runs(runs: Path) -> float:
    """From the first line of any run.log to the last of any, in whole seconds."""
    lines = [line for path in runs.glob("*/*/*/run.log") for line in path.read_text().splitlines()]
    times = [datetime.datetime.fromisoformat(line.split(" ", 1)[0]) for line in lines]
    return (max(times) - min(times)).total_seconds()


def _train_seconds(runs: Path) -> float:
    rows = (runs / "eight/sgd/seed-0/metrics.csv").read_text().splitlines()
    return float(rows[-1].split(",")[rows[0].split(",").index("train_seconds")])


def main() -> None:
    """Prints the times and whether the goal is met."""
    times = measure_cluster(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    for way, seconds in times.seconds.items():
        singly = ", ".join(f"{one:.1f}" for one in seconds)
        runs = ", ".join(f"{one:.0f}" for one in times.of_runs[way])
        print(f"{way:10} {statistics.median(seconds):7.1f} s   ({singly}); its runs {runs}")
    print(f"a run trains {times.run_seconds:.1f} s; --on ray takes {times.ratio:.3f} of --jobs (goal: {GOAL})")


if __name__ == "__main__":
    main()
