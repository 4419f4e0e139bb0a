"""Runs out of TensorBoard's event files: each folder with such files is a run.

Keras writes one run as the sibling folders `train` and `validation`: two or more folders named after parts of the
data are one run, that of the folder above them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nnopt.errors import UsageError
from nnopt.importing.columns import PARTS
from nnopt.importing.records import read_records
from nnopt.importing.source import SourceRun

MARK = "tfevents"
# Folder names that tell nothing of a run.
PLAIN_FOLDERS = ("tensorboard", "tb", "logs", "events", "summaries")
STATUSES = ("done", "diverged", "failed", "interrupted", "pruned")


def event_files(path: Path) -> list[Path]:
    """The event files at or below `path`, in order of their names (which begin with their time)."""
    if path.is_file():
        return [path] if MARK in path.name else []
    return sorted(file for file in path.rglob(f"*{MARK}*") if file.is_file())


def read_event_files(path: Path) -> list[SourceRun]:
    """The runs in or below a folder, or in one file, in order of their folders.

    Raises:
        UsageError: no event file is there, or TensorBoard is not installed.
        RunsFolderError: a file is no event file, or cannot be read.
    """
    _need_tensorboard()
    files = event_files(path)
    if not files:
        raise UsageError(f"{path} holds no event files of TensorBoard (*{MARK}*)")
    top = path if path.is_dir() else path.parent
    runs: dict[str, _Reader] = {}
    parts = _part_folders(files, top)
    for file in files:
        folder = file.parent
        prefix = ""
        if folder in parts:
            prefix, folder = f"{folder.name}/", folder.parent
        name = folder.relative_to(top).as_posix()
        reader = runs.setdefault(name, _Reader(SourceRun(_short(name) or _short(top.resolve().as_posix(), 1), name)))
        reader.read(file, prefix)
    return [reader.finish() for reader in runs.values()]


class _Reader:
    """Gathers the events of one run."""

    def __init__(self, run: SourceRun) -> None:
        self.run = run
        self.walls: list[tuple[int, float]] = []
        self.first: float | None = None

    def read(self, file: Path, prefix: str) -> None:
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event

        plugins: dict[str, str] = {}  # tag -> plugin; only a tag's first value names it
        records, problem = read_records(file)
        if problem:
            self.run.notes.append(problem)
        for record in records:
            try:
                event = Event.FromString(record)
            except DecodeError:
                self.run.notes.append(f"{file} has a record that is no event: it is left out")
                continue
            wall, step = event.wall_time, event.step
            self.first = wall if self.first is None else min(self.first, wall)
            if not event.HasField("summary"):
                continue
            for value in event.summary.value:
                number = self._number(value, plugins)
                if number is not None:
                    self.run.add(prefix + value.tag, step, number)
                    self.walls.append((step, wall))

    def finish(self) -> SourceRun:
        self.run.set_times(self.walls, self.first or 0.0)
        return self.run

    def _number(self, value: Any, plugins: dict[str, str]) -> float | None:
        """The scalar of a value; what is of another kind is taken in or passed over."""
        if value.HasField("simple_value"):
            return float(value.simple_value)
        if value.HasField("metadata"):
            plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
        plugin = plugins.get(value.tag, "")
        if plugin == "scalars" and value.HasField("tensor"):
            from tensorboard.util.tensor_util import make_ndarray

            array = make_ndarray(value.tensor)
            return float(array.item()) if array.size == 1 else None
        _TAKE.get(plugin, _nothing)(self.run, value)
        return None


def _take_hparams(run: SourceRun, value: Any) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
    for name, item in data.session_start_info.hparams.items():
        kind = item.WhichOneof("kind")
        if kind in ("bool_value", "string_value", "number_value"):
            found = getattr(item, kind)
            whole = kind == "number_value" and abs(found) < 2**53 and found == int(found)
            run.hyperparameters[name] = int(found) if whole else found
    if data.HasField("session_end_info") and data.session_end_info.status == 2:  # STATUS_FAILURE
        run.status = run.status if run.status != "done" else "failed"


def _take_text(run: SourceRun, value: Any) -> None:
    """Of our own tracker: status, tags, notes."""
    text = b"".join(value.tensor.string_val).decode(errors="replace")
    if value.tag == "nnopt/status":
        status, _, reason = text.partition(": ")
        if status in STATUSES:
            run.status, run.reason = status, reason
    elif value.tag == "nnopt/tags":
        run.tags = tuple(text.split(", "))
    elif value.tag == "nnopt/notes":
        run.text = text


def _nothing(run: SourceRun, value: Any) -> None:
    """A picture, a histogram, a graph."""


_TAKE = {"hparams": _take_hparams, "text": _take_text}


def _part_folders(files: Iterable[Path], top: Path) -> set[Path]:
    """Folders that hold one part of a run each."""
    folders = {file.parent for file in files if file.parent != top}
    named = {folder for folder in folders if folder.name.lower() in PARTS}
    return {folder for folder in named if sum(other.parent == folder.parent for other in named) > 1}


def _short(name: str, last: int = 0) -> str:
    """A folder's name without what tells nothing at its end; of the rest the `last` words, or all."""
    words = [word for word in name.split("/") if word not in (".", "")]
    while words and words[-1].lower() in PLAIN_FOLDERS:
        words.pop()
    return "/".join(words[-last:])


def _need_tensorboard() -> None:
    import importlib.util

    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("reading event files takes TensorBoard: pip install 'nnopt[tensorboard]'")
