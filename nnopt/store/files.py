"""Writes that are whole or appended: a kill or a full disk leaves the old file, never half a new one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from nnopt.errors import DiskError, RunsFolderError

Cell = float | int | str | None


def write_whole(path: Path, content: bytes | str, sync: bool = True) -> None:
    """Writes `path` through a temporary file, fsync and rename.

    Without `sync` it is whole after a kill, and after a power cut may be empty.

    Raises:
        DiskError: the disk is full, or refuses for another reason; the old file is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    write_whole_with(path, lambda file: file.write(data), sync)


def write_whole_with(path: Path, write: Callable[[BinaryIO], object], sync: bool = True) -> None:
    """As `write_whole`, the content being written by `write(file)`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with refusals(path):
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def remove_leftovers(*folders: Path) -> None:
    """Removes temporary files of writes that a kill cut short; nobody else may be writing in these folders."""
    for folder in folders:
        for path in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                path.unlink()


def write_json(path: Path, value: Any, sync: bool = True) -> None:
    """Writes `value` as JSON, as `write_whole`; NaN and infinity, which JSON does not have, are refused."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", sync)


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into a DiskError in plain words."""
    try:
        yield
    except OSError as error:
        what = {
            errno.ENOSPC: "the disk is full: make room and run the same command again to go on",
            errno.EDQUOT: "the disk quota is used up: make room and run the same command again to go on",
            errno.EACCES: "no permission to write there",
            errno.EROFS: "the disk is read-only",
        }.get(error.errno or 0, error.strerror or str(error))
        raise DiskError(f"cannot write {path}: {what}") from error


def make_folder(path: Path) -> None:
    """Makes a folder and those above it.

    Raises:
        RunsFolderError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RunsFolderError(f"{path} is in the way: it is a file, and a folder is needed there") from None
    except OSError as error:
        raise RunsFolderError(f"cannot make the folder {path}: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise RunsFolderError(f"the folder {path} cannot be written: check its permissions, or give --runs-dir")


class Table:
    """A CSV file that grows by whole lines, its first column a rising step.

    Numbers are written so that they read back as the same bits; empty cells are missing values.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = tuple(columns)
        self._synced = True

    def begin(self, last_step: int | None, most: int | None = None) -> None:
        """Makes the table ready to append: new where `last_step` is None, else cut after that step, or `most` rows."""
        kept = []
        if last_step is not None and self.path.exists():
            lines = self.path.read_text().split("\n")[1:-1]  # what follows the last newline was not finished
            kept = [line for line in lines if _step_of(line) is not None and _step_of(line) <= last_step]  # type: ignore[operator]
        write_whole(self.path, "".join(f"{line}\n" for line in [",".join(self.columns), *kept[:most]]), sync=bool(kept))

    def append(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Appends rows in one write."""
        self._synced = False
        text = "".join(",".join(map(_cell, row)) + "\n" for row in rows)
        with refusals(self.path), self.path.open("ab") as file:
            size = file.tell()
            try:
                file.write(text.encode())
                file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, size)
                raise

    def sync(self) -> None:
        """Returns when the rows so far are safe from a power cut."""
        if not self._synced:
            with refusals(self.path), self.path.open("r+b") as file:
                os.fsync(file.fileno())
            self._synced = True


def _cell(value: Cell) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _step_of(line: str) -> int | None:
    first = line.partition(",")[0]
    return int(first) if first.isdecimal() else None
