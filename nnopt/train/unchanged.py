"""Whether the data of runs that are done are still what they learned from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from nnopt.errors import UsageError
from nnopt.plan import RunSpec
from nnopt.store.place import place
from nnopt.store.record import SUMMARY
from nnopt.train.setup import DataCache


def check_unchanged(done: Iterable[RunSpec], runs_dir: Path, cache: DataCache) -> None:
    """Refuses to pass over runs that learned from other content than their files have now.

    Data is read only where a file of it is younger than a run's summary.

    Raises:
        UsageError: the content is another, or cannot be read.
    """
    changed: dict[str, float] = {}  # runs share files, and a folder of images is long
    for run in done:
        files = run.settings.data.own_places()
        if str(files) not in changed:
            changed[str(files)] = run.settings.data.changed_at()
        found = place(run, runs_dir) if files else None
        if found is None or found.found is None or changed[str(files)] <= (found.folder / SUMMARY).stat().st_mtime:
            continue
        learned_from = (found.found.summary.get("data") or {}).get("sha256")
        data = cache.get(run.settings, torch.device("cpu"), run.seed)
        if learned_from not in (None, data.content_hash):
            raise UsageError(
                f"{' and '.join(files.values())}: the content is another than when {run.label} was trained: bring that "
                "back, give the experiment another name, or train it anew with `nnopt train --fresh`"
            )
