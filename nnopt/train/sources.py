"""The run or file that a spec names as the source of trained weights: found, and whether its training is done."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from nnopt.errors import RunsFolderError, UsageError
from nnopt.plan import RunSpec
from nnopt.spec.transfer import SourceSpec
from nnopt.store.find import find_run, read_run
from nnopt.store.place import find_same
from nnopt.store.record import RunRecord


@dataclass(frozen=True)
class Role:
    """What a source is called in messages, and why its training has to be done."""

    name: str
    needs: str


def find_source(source: SourceSpec, seed: int, runs_dir: Path, role: Role) -> RunRecord:
    """The run that `source` names for a run with this seed.

    Raises:
        UsageError: it is missing, or not trained to its end.
    """
    text = source.name_for(seed)
    try:
        if source.spec is None:
            record = read_run(find_run(text, runs_dir))
        else:
            found = find_same(text, source.spec, runs_dir)
            if found is None:
                raise RunsFolderError(f"no run below {runs_dir} is called '{text}' and has the spec {source.spec}")
            record = read_run(found.folder)
    except RunsFolderError as error:
        raise UsageError(f"{role.name} {text} is missing: {error}") from None
    if record.status != "done":
        raise UsageError(f"{role.name} {record.name} is {record.status}: {role.needs}")
    return record


def is_planned(source: SourceSpec, run: RunSpec, planned: Container[str]) -> bool:
    """Whether the source is one of the runs with labels `planned`, which comes before `run`."""
    label = source.name_for(run.seed)
    return source.run is not None and label in run.learns_from and label in planned


def check_is_there(source: SourceSpec, run: RunSpec, planned: Container[str], runs_dir: Path, role: Role) -> None:
    """Looks for the source of a run without reading its weights.

    Raises:
        UsageError: it is missing and not among the runs with labels `planned`, or not trained to its end.
    """
    if source.checkpoint is not None:
        path = source.name_for(run.seed)
        if not Path(path).exists():
            raise UsageError(f"{role.name} {path}: there is no such file")
    elif not is_planned(source, run, planned):
        find_source(source, run.seed, runs_dir, role)
