"""How fast the command line answers: `nnopt --help`, `compare` of 100 and 1,000 runs, a report; what imports torch."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from job import BenchError, environment

SEEDS = 10
ROWS = 200  # evaluations of each run
REPORT_MOST_BYTES = 6_000_000
# Seconds of training: the folders that are copied should be as nnopt writes them.
SPEC = f"""\
name: many
data: {{kind: digits}}
model: {{kind: mlp, hidden: [16]}}
loss: {{kind: cross_entropy}}
optimizer: {{kind: sgd, lr: 0.1}}
budget: {{steps: {5 * ROWS}}}
evaluation: {{every: {{steps: 5}}, target: {{metric: val_accuracy, value: 0.9}}}}
device: cpu
seeds: {SEEDS}
variants: {{model: {{}}}}
"""
IMPORT = "import time; start = time.perf_counter(); import nnopt.cli.main; print(time.perf_counter() - start)"


@dataclass(frozen=True)
class Answer:
    """Wall seconds of a command over several calls; `goal` is what the median should stay within."""

    command: str
    seconds: tuple[float, ...]
    goal: float | None = None
    imports_torch: bool | None = None

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def measure_front_end(calls: int = 7, compare_calls: int = 5) -> list[Answer]:
    """Times each command in fresh processes, after one call that is not counted.

    Raises:
        BenchError: a command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        write_runs(runs, 100)
        few, twenty = (_names(count) for count in (10, 2))
        every = ["compare", "many", "--runs-dir", str(runs)]
        compare = ["compare", *few, "--runs-dir", str(runs)]
        page = Path(folder) / "report.html"
        report = ["compare", *twenty, "--runs-dir", str(runs), "--html", str(page)]
        picture = [*compare, "--plot", str(Path(folder) / "plot.png")]
        answers = [
            Answer("python -c pass", _time([sys.executable, "-c", "pass"], calls)),
            Answer("import nnopt.cli.main", _import_seconds(calls), imports_torch=_torch_in(["--version"])),
            Answer("nnopt --help", _time(_nnopt("--help"), calls), 0.35, _torch_in(["--help"])),
            Answer("nnopt compare, 100 runs", _time(_nnopt(*compare), compare_calls), 2.0, _torch_in(compare)),
            Answer("the same with --plot", _time(_nnopt(*picture), compare_calls), imports_torch=_torch_in(picture)),
            Answer("nnopt compare, 1,000 runs", _time(_nnopt(*every), compare_calls), 3.0, _torch_in(every)),
            Answer("nnopt compare --html, 20 runs", _time(_nnopt(*report), compare_calls), 5.0, _torch_in(report)),
        ]
        if page.stat().st_size > REPORT_MOST_BYTES:
            raise BenchError(f"the report of 20 runs takes {page.stat().st_size:,} bytes")
        return answers


def _names(variants: int) -> list[str]:
    return [f"many/v{number}" for number in range(variants)]


def write_runs(runs: Path, variants: int) -> None:
    """`variants` times SEEDS run folders of one experiment, made of one variant that is trained here.

    Each variant's accuracies are a little lower than those of the one before, by another amount in each seed: equal
    curves would spare `compare` its work.
    """
    config = runs.with_suffix(".yaml")
    config.write_text(SPEC, encoding="utf-8")
    _call(_nnopt("train", str(config), "--runs-dir", str(runs), "--quiet"))
    for number in range(variants):
        for seed in range(SEEDS):
            folder = runs / "many" / f"v{number}" / f"seed-{seed}"
            shutil.copytree(runs / "many" / "model" / folder.name, folder, ignore=shutil.ignore_patterns("checkpoints"))
            path = folder / "summary.json"
            summary = json.loads(path.read_text(encoding="utf-8"))
            summary |= {"variant": f"v{number}", "spec_hash": f"{number:016x}", "order": number}
            summary["spec"]["optimizer"]["lr"] = 0.1 + 0.01 * number
            path.write_text(json.dumps(summary), encoding="utf-8")
            _lower(folder / "metrics.csv", "val_accuracy", 1e-4 * number * (1 + seed % 3))
    shutil.rmtree(runs / "many" / "model")


def _lower(path: Path, column: str, amount: float) -> None:
    header, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    place = header.index(column)
    for row in rows:
        row[place] = repr(float(row[place]) - amount)
    path.write_text("".join(f"{','.join(row)}\n" for row in (header, *rows)), encoding="utf-8")


def _nnopt(*arguments: str) -> list[str]:
    script = Path(sys.executable).with_name("nnopt")
    return [*([str(script)] if script.exists() else [sys.executable, "-m", "nnopt"]), *arguments]


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done


def _time(command: list[str], calls: int) -> tuple[float, ...]:
    _call(command)
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        _call(command)
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)


def _import_seconds(calls: int) -> tuple[float, ...]:
    return tuple(float(_call([sys.executable, "-c", IMPORT]).stdout) for _ in range(calls))


def _torch_in(arguments: list[str]) -> bool:
    """Whether the command imports torch: `-X importtime` prints a line for every module."""
    done = _call([sys.executable, "-X", "importtime", "-m", "nnopt", *arguments])
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return any(name.split(".")[0] == "torch" for name in modules)
