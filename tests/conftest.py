"""What tests of the program as a whole share: the command line in this process and as a process, and a small spec."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import PATIENCE, SMALL, Ended
from hypothesis import settings
from typer.testing import CliRunner

from nnopt.spec.merge import merge

# Other work may share the machine: an example that takes long is no failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# A shell starts what it runs in the background with Ctrl-C ignored, and programs started from there inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are laid out but not drawn, which takes a second each: for tests of what they do not show."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"not drawn"))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs folder of this test (not made yet); the working directory is the folder above it."""
    monkeypatch.setenv("NNOPT_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def cli(runs: Path) -> Callable[..., Ended]:
    """`cli("train", path, code=0)`: the command line in this process; `code=None` takes any exit code."""
    from nnopt.cli.main import app

    def run(*args: object, code: int | None = 0, **env: str) -> Ended:
        result = CliRunner().invoke(app, [str(arg) for arg in args], env=env, catch_exceptions=False)
        ended = Ended(result.exit_code, result.stdout, result.stderr)
        assert code is None or ended.exit_code == code, f"exit code {ended.exit_code}: {ended.stderr or ended.stdout}"
        return ended

    return run


@pytest.fixture
def program(runs: Path) -> Callable[..., Ended]:
    """As `cli`, in a process of its own: for signals, imports and real exit codes. Keywords are environment."""

    def run(*args: object, code: int | None = 0, **env: str) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "nnopt", *(str(arg) for arg in args)],
            capture_output=True,
            text=True,
            env={**os.environ, **env},
            timeout=PATIENCE,
            check=False,
        )
        ended = Ended(done.returncode, done.stdout, done.stderr)
        assert code is None or ended.exit_code == code, f"exit code {ended.exit_code}: {ended.stderr or ended.stdout}"
        return ended

    return run


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    """`write_spec({"optimizer": {"lr": 1.0}})`: the small spec with keys merged over it; None removes a key.

    A text is written as it is.
    """

    def write(changes: str | bytes | dict[str, Any] | None = None, name: str = "spec.yaml") -> Path:
        path = tmp_path / name
        if isinstance(changes, bytes):
            path.write_bytes(changes)
        elif isinstance(changes, str):
            path.write_text(changes, encoding="utf-8")
        else:
            keys = {key: value for key, value in merge(SMALL, changes or {}).items() if value is not None}
            path.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
        return path

    return write
