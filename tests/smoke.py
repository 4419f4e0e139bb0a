"""Trains or sweeps every file in configs/ for a few steps: `make smoke`.

A data set that is not at hand is passed over, aloud.
"""

from __future__ import annotations

import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from typer.testing import CliRunner

from nnopt.cli.main import app
from nnopt.spec.loading import load
from nnopt.spec.parallel import ParameterServer

CONFIGS = Path(__file__).parent.parent / "configs"
TINY = ["budget.steps=4", "evaluation.every.steps=2", "seeds=1"]


def spec_files() -> list[Path]:
    """All but those of the scoreboard: workloads and optimizers are no specs by themselves."""
    return [path for path in sorted(CONFIGS.rglob("*.yaml")) if CONFIGS / "scoreboard" not in path.parents]


def smoke_command(config: Path) -> list[str]:
    """What to run of a file: two trials of a search (a grid has a fixed number), else every variant once."""
    search = load(config).search
    if search is None:
        return ["train", str(config), *TINY]
    trials = [] if search.sampler.kind == "grid" else ["search.trials=2"]
    return ["sweep", str(config), *TINY, "budget.steps=6", *trials, "search.confirm.seeds=1"]


def missing_data(config: Path) -> str | None:
    """Why a file cannot be trained here without a download or an extra, or None."""
    variants = load(config).variants.values()
    if any(isinstance(settings.parallel, ParameterServer) for settings in variants) and find_spec("ray") is None:
        return "ray is not installed: pip install 'nnopt[ray]'"
    return next((reason for settings in variants if (reason := settings.data.available())), None)


def trained_before(config: Path) -> list[Path]:
    """The files beside this one whose runs its networks begin with."""
    own = load(config)
    named = {source.name_for(0).split("/")[0] for settings in own.variants.values() for source in settings.sources}
    named -= {own.name, *own.variants}
    return [path for path in sorted(config.parent.glob("*.yaml")) if load(path).name in named] if named else []


def main() -> int:
    """Trains each file; 1 where one fails."""
    failed, passed_over = [], []
    files = spec_files()
    with tempfile.TemporaryDirectory() as runs:
        for config in files:
            name = config.relative_to(CONFIGS)
            if reason := missing_data(config):
                print(f"passed over  {name}: {reason}")
                passed_over.append(name)
                continue
            start = time.perf_counter()
            for other in trained_before(config):
                CliRunner().invoke(app, [*smoke_command(other), "--runs-dir", runs, "--quiet"])
            done = CliRunner().invoke(app, [*smoke_command(config), "--runs-dir", runs, "--quiet"])
            state = "ok" if done.exit_code == 0 else f"FAILED (exit {done.exit_code})"
            print(f"{state:12} {name} in {time.perf_counter() - start:.1f} s")
            if done.exit_code != 0:
                failed.append(name)
                print(done.output, file=sys.stderr)
    print(f"{len(files) - len(failed) - len(passed_over)} passed, {len(failed)} failed, {len(passed_over)} skipped")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
