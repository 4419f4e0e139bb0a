"""How fast the command line answers: `nnopt --help`, `nnopt compare` of 100 runs, and whether either imports torch."""

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

VARIANTS, SEEDS = 20, 5
# Seconds of training: the folders that are copied should be as nnopt writes them.
SPEC = f"""\
name: many
data: {{kind: digits}}
model: {{kind: mlp, hidden: [16]}}
loss: {{kind: cross_entropy}}
optimizer: {{kind: sgd, lr: 0.1}}
budget: {{epochs: 20}}
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
        write_runs(runs)
        compare = ["compare", "many", "--runs-dir", str(runs)]
        picture = [*compare, "--plot", str(Path(folder) / "plot.png")]
        return [
            Answer("python -c pass", _time([sys.executable, "-c", "pass"], calls)),
            Answer("import nnopt.cli.main", _import_seconds(calls), imports_torch=_torch_in(["--version"])),
            Answer("nnopt --help", _time(_nnopt("--help"), calls), 0.35, _torch_in(["--help"])),
            Answer(
                f"nnopt compare, {VARIANTS * SEEDS} runs",
                _time(_nnopt(*compare), compare_calls),
                2.0,
                _torch_in(compare),
            ),
            Answer(
                "the same with --plot",
                _time(_nnopt(*picture), compare_calls),
                imports_torch=_torch_in(picture),
            ),
        ]


def write_runs(runs: Path) -> None:
    """VARIANTS times SEEDS run folders of one experiment, copied from a variant that is trained here."""
    config = runs.with_suffix(".yaml")
    config.write_text(SPEC, encoding="utf-8")
    _call(_nnopt("train", str(config), "--runs-dir", str(runs), "--quiet"))
    for number in range(VARIANTS):
        for seed in range(SEEDS):
            folder = runs / "many" / f"v{number}" / f"seed-{seed}"
            shutil.copytree(runs / "many" / "model" / folder.name, folder, ignore=shutil.ignore_patterns("checkpoints"))
            path = folder / "summary.json"
            summary = json.loads(path.read_text(encoding="utf-8"))
            summary |= {"variant": f"v{number}", "spec_hash": f"{number:016x}"}
            summary["spec"]["optimizer"]["lr"] = 0.1 + 0.01 * number
            path.write_text(json.dumps(summary), encoding="utf-8")
    shutil.rmtree(runs / "many" / "model")


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
