"""What `--on ray` costs beside `--jobs`: eight runs of some ten seconds, two at a time, each way in turn.

Takes whole commands, from their start to their exit, Ray's own start and end included. Wants two idle cores:

    python tests/benchmarks/cluster.py [REPEATS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from job import BenchError

RUNS, JOBS, EPOCHS = 8, 2, 1200
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
    """Wall seconds of whole commands, by how they were given; and of the training of one run."""

    seconds: dict[str, list[float]]
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
                run_seconds = _train_seconds(runs)
    return ClusterTimes(found, run_seconds)


def _train_seconds(runs: Path) -> float:
    rows = (runs / "eight/sgd/seed-0/metrics.csv").read_text().splitlines()
    return float(rows[-1].split(",")[rows[0].split(",").index("train_seconds")])


def main() -> None:
    """Prints the times and whether the goal is met."""
    times = measure_cluster(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    for way, seconds in times.seconds.items():
        print(f"{way:10} {statistics.median(seconds):7.1f} s   ({', '.join(f'{one:.1f}' for one in seconds)})")
    print(f"a run trains {times.run_seconds:.1f} s; --on ray takes {times.ratio:.3f} of --jobs (goal: {GOAL})")


if __name__ == "__main__":
    main()
