"""Where a run's folder lies, and what it finds there."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnopt.errors import NnoptError, RunsFolderError
from nnopt.plan import RunSpec
from nnopt.store.files import refusals
from nnopt.store.lock import RunLock
from nnopt.store.record import FINISHED, SUMMARY, RunRecord

ASIDE = ".aside"  # below the runs folder: what --fresh set aside


@dataclass(frozen=True)
class Place:
    """A run's folder. `found` is the run that already lies there, to skip, resume or prolong."""

    folder: Path
    found: RunRecord | None = None
    relation: Literal["new", "same", "shorter"] = "new"

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do for the run."""
        return self.relation == "same" and self.found is not None and self.found.status in FINISHED


def place(run: RunSpec, runs_dir: Path) -> Place:
    """The folder for `run`: the one that has it, or one with a shorter budget that it can go on from, or a new one.

    A folder made from another spec is left alone; the new one then gets a suffix of its hash.
    """
    usual = runs_dir / run.label
    known = [record for folder in _alike(usual) if (record := _read(folder)) is not None]
    for record in known:
        if record.spec_hash == run.hash:
            return Place(record.folder, record, "same")
    for record in known:
        if _is_shorter(record, run):
            return Place(record.folder, record, "shorter")
    if _is_free(usual):
        return Place(usual)
    suffixed = usual.with_name(f"{usual.name}-{run.hash[:8]}")
    if _is_free(suffixed):
        return Place(suffixed)
    raise RunsFolderError(f"{suffixed} holds something that is no run of this spec: move it away")


def find_same(label: str, spec_hash: str, runs_dir: Path) -> RunRecord | None:
    """The run called `label` that was made from the spec with this hash, where it lies below `runs_dir`."""
    known = (_read(folder) for folder in _alike(runs_dir / label))
    return next((record for record in known if record is not None and record.spec_hash == spec_hash), None)


def make_way(run: RunSpec, runs_dir: Path) -> None:
    """Sets aside the folder that has `run`, or one that it could go on from, as `--fresh` asks.

    Raises:
        HeldError: another program is writing it.
    """
    found = place(run, runs_dir)
    if found.found:
        with RunLock(found.folder):
            pass  # nobody else is writing it
        set_aside(found.folder, runs_dir)


def set_aside(folder: Path, runs_dir: Path) -> Path:
    """Moves a run's folder out of the way, below `.aside`, and returns where it now lies."""
    kept = runs_dir / ASIDE / folder.relative_to(runs_dir)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = kept.with_name(f"{kept.name}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = kept.with_name(f"{kept.name}-{stamp}-{number}")
    with refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    return target


def _alike(usual: Path) -> list[Path]:
    """The usual folder and those with a suffix, as far as they hold a summary."""
    if not usual.parent.is_dir():
        return []
    names = [usual, *sorted(usual.parent.glob(f"{usual.name}-*"))]
    return [folder for folder in names if (folder / SUMMARY).is_file()]


def _read(folder: Path) -> RunRecord | None:
    with contextlib.suppress(NnoptError):
        return RunRecord.read(folder)
    return None


def _is_free(folder: Path) -> bool:
    """Whether a new run may use the folder: it is not there, or holds nothing but what a lock left."""
    return not folder.exists() or (folder.is_dir() and all(entry.name.startswith(".") for entry in folder.iterdir()))


def _is_shorter(record: RunRecord, run: RunSpec) -> bool:
    """Whether the run found is the beginning of this one: all keys equal but a smaller budget of the same unit.

    One that is done and ended between two evaluations was judged where a longer run is not: it is none.
    """
    if run.hash_without_budget is None or record.summary.get("hash_without_budget") != run.hash_without_budget:
        return False
    budget = run.settings.budget
    old = record.summary["spec"]["budget"]
    return any(
        (wanted := getattr(budget, unit)) is not None and unit in old and old[unit] < wanted
        for unit in type(budget).model_fields
    ) and (record.status != "done" or _ends_at_an_evaluation(record, run))


def _ends_at_an_evaluation(record: RunRecord, run: RunSpec) -> bool:
    every = run.settings.evaluation.every
    if every.steps is not None:
        return bool(record.summary["steps"] % every.steps == 0)
    if every.epochs is not None:
        periods = record.summary["epochs"] / every.epochs
        return bool(abs(periods - round(periods)) < 1e-6)
    return True
