"""Runs below the runs folder, and what a RUN of the command line names."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from nnopt.errors import NnoptError, RunsFolderError
from nnopt.spec.nearest import nearest
from nnopt.store.lock import holder_lives
from nnopt.store.record import SUMMARY, RunRecord

MAX_DEPTH = 6


class NamedRuns(NamedTuple):
    """What RUN arguments name: runs, a sentence for each that cannot be read, and the folders of trials that were
    asked for as trials (adam/trial-3), and not with all that their experiment or variant has.
    """

    records: list[RunRecord]
    problems: list[str]
    trials: frozenset[Path]


def run_folders(top: Path) -> list[Path]:
    """Every folder at or below `top` with a summary, in order of its name; hidden folders are passed over."""
    return sorted(_walk(top, MAX_DEPTH), key=_in_order)


def read_run(folder: Path) -> RunRecord:
    """The run in `folder`; one that says `running` and whose program is gone was interrupted.

    Raises:
        RunsFolderError: there is no run, or its summary is damaged.
    """
    record = RunRecord.read(folder)
    if record.status == "running" and not holder_lives(folder):
        return dataclasses.replace(record, status="interrupted")
    return record


def read_runs(folders: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """The runs that can be read, and a sentence for each that cannot."""
    records, problems = [], []
    for folder in folders:
        try:
            records.append(read_run(folder))
        except NnoptError as error:
            problems.append(f"{error}.")
    return records, problems


def read_named_runs(texts: Sequence[str], runs_dir: Path) -> NamedRuns:
    """The runs that RUN arguments name, in the order of the arguments and, within an experiment, of its variants.

    Raises:
        RunsFolderError: as `find_runs`.
    """
    found: dict[Path, RunRecord] = {}
    problems: dict[str, None] = {}
    trials: set[Path] = set()
    for text in texts:
        folders = find_runs([text], runs_dir)
        records, wrong = read_runs([folder for folder in folders if folder not in found])
        problems.update(dict.fromkeys(wrong))
        found.update((record.folder, record) for record in sorted(records, key=_place_in_file))
        trials.update(folder for folder in folders if found_trial(text, folder))
    return NamedRuns(list(found.values()), list(problems), frozenset(trials))


def found_trial(text: str, folder: Path) -> bool:
    """Whether a RUN argument names this run's folder as a trial's: adam/trial-3, adam/trial-*."""
    parts = [part for part in text.split("/") if part.startswith("trial-")]
    return any(fnmatch.fnmatchcase(folder.parent.name, part) for part in parts)


def _place_in_file(record: RunRecord) -> tuple[str, int]:
    order = record.summary.get("order")
    return record.experiment, order if isinstance(order, int) else 0


def find_runs(texts: Sequence[str], runs_dir: Path) -> list[Path]:
    """The run folders that RUN arguments name, each once, in the order named.

    A RUN is a folder, an experiment, a variant, a glob below the runs folder, or a unique tail of one.

    Raises:
        RunsFolderError: one names nothing, more than one thing, or lies outside the runs folder.
    """
    if not runs_dir.is_dir() and not all(Path(text).is_dir() for text in texts):
        raise RunsFolderError(f"there is no runs folder {runs_dir}: train something first, or give --runs-dir")
    found: dict[Path, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_named(text, runs_dir)))
    return list(found)


def find_run(text: str, runs_dir: Path) -> Path:
    """The one run folder that `text` names.

    Raises:
        RunsFolderError: it names no run, or several.
    """
    folders = find_runs([text], runs_dir)
    if len(folders) > 1:
        shown = ", ".join(_relative(folder, runs_dir) for folder in folders[:4])
        more = f" and {len(folders) - 4} more" if len(folders) > 4 else ""
        raise RunsFolderError(f"{text} names {len(folders)} runs ({shown}{more}); name one of them")
    return folders[0]


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / SUMMARY).is_file():
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            below = [entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return
    if depth > 0:
        for path in below:
            yield from _walk(Path(path), depth - 1)


def _in_order(path: Path) -> tuple[tuple[str, int], ...]:
    """Sorts seed-10 after seed-9."""
    parts = []
    for part in path.parts:
        head, _, number = part.rpartition("-")
        parts.append((head, int(number)) if number.isdecimal() else (part, -1))
    return tuple(parts)


def _relative(folder: Path, runs_dir: Path) -> str:
    return folder.relative_to(runs_dir).as_posix() if folder.is_relative_to(runs_dir) else str(folder)


def _named(text: str, runs_dir: Path) -> list[Path]:
    if ".." in PurePosixPath(text).parts:
        raise RunsFolderError(f"{text}: a RUN lies below the runs folder ({runs_dir}); for another one give --runs-dir")
    for folder in (runs_dir / text, Path(text)):
        if text and folder.is_dir():
            runs = run_folders(folder)
            if not runs:
                raise RunsFolderError(f"{folder} holds no run")
            return runs
    below = run_folders(runs_dir)
    if any(mark in text for mark in "*?["):
        runs = [folder for folder in below if _matches(_relative(folder, runs_dir), text)]
        if not runs:
            raise RunsFolderError(f"nothing below {runs_dir} matches {text}; `nnopt list` shows what there is")
        return runs
    return _by_tail(text, below, runs_dir)


def _matches(path: str, pattern: str) -> bool:
    """Whether the run's path, or that of a folder above it, fits the pattern part by part."""
    parts, wanted = path.split("/"), pattern.strip("/").split("/")
    return len(wanted) <= len(parts) and all(fnmatch.fnmatchcase(a, b) for a, b in zip(parts, wanted, strict=False))


def _by_tail(text: str, below: list[Path], runs_dir: Path) -> list[Path]:
    tail = tuple(part for part in text.split("/") if part)
    ends: dict[tuple[str, ...], list[Path]] = {}  # folder that ends in the tail -> runs in it
    names: dict[str, None] = {}
    for folder in below:
        parts = tuple(_relative(folder, runs_dir).split("/"))
        names.update(dict.fromkeys(parts))
        for length in range(len(tail), len(parts) + 1):
            if tail and parts[length - len(tail) : length] == tail:
                ends.setdefault(parts[:length], []).append(folder)
    if len(ends) == 1:
        return next(iter(ends.values()))
    if not ends:
        raise RunsFolderError(
            f"no run below {runs_dir} is called '{text}'{nearest(text, names)}; `nnopt list` shows what there is"
        )
    shown = ", ".join("/".join(parts) for parts in list(ends)[:4])
    raise RunsFolderError(f"'{text}' could be {shown}{', ...' if len(ends) > 4 else ''}; write more of the path")
