"""The folder that holds runs."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_RUNS = "runs"


def runs_folder(given: Path | None) -> Path:
    """The folder that holds runs: as given, else NNOPT_RUNS_DIR, else `runs`."""
    return given or Path(os.environ.get("NNOPT_RUNS_DIR") or DEFAULT_RUNS)
