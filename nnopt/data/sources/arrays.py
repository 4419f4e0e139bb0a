"""Arrays in the files of numpy: .npz, and .npy, whose rows may stay where they are."""

from __future__ import annotations

import difflib
import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from nnopt.data.layout import Layout, NewRows
from nnopt.data.npy import open_npy
from nnopt.data.paths import find
from nnopt.data.raw import Array, Raw, digest, joined_digest
from nnopt.data.reading import ArrayReader, Reader, rows_at_once
from nnopt.data.sources.targets import OwnTask, read_targets
from nnopt.errors import DataError

Channels = Literal["auto", "first", "last"]
_USUAL_CHANNELS = (1, 3, 4)  # grey, colour, colour with transparency


@dataclass(frozen=True, eq=False)
class Arranged:
    """The rows of a reader as models take them: features, or images with their channels first.

    Attributes:
        rows: as they are kept.
        turned: whether images are kept with their channels last.
    """

    rows: Reader
    turned: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(features,) or (channels, rows, columns)."""
        return arranged(np.empty((0, *self.rows.shape), np.uint8), self.turned).shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As kept."""
        return self.rows.dtype

    def read(self, rows: Array) -> Array:
        """The rows with these numbers."""
        return arranged(self.rows.read(rows), self.turned)


def arranged(values: Array, turned: bool) -> Array:
    """`values` [n], [n, features], [n, rows, columns] or images with three axes, as models take them.

    A single number is one feature, rows and columns alone are a grey image.
    """
    if values.ndim == 1:
        return values[:, None]
    if values.ndim == 3:
        return values[:, None]
    return np.ascontiguousarray(np.moveaxis(values, -1, 1)) if turned else values


def is_turned(shape: tuple[int, ...], channels: Channels, where: str) -> bool:
    """Whether rows of this shape are images with their channels last.

    Raises:
        DataError: it cannot be told, or they are no rows of features and no images.
    """
    if len(shape) > 3:
        raise DataError(
            f"{where}: a row of shape {_by(shape)} is neither features, nor an image of rows, columns and channels"
        )
    if 0 in shape:
        raise DataError(f"{where}: a row of shape {_by(shape)} holds no number")
    if len(shape) < 3:
        return False
    if channels != "auto":
        return channels == "last"
    first, last = shape[0] in _USUAL_CHANNELS, shape[2] in _USUAL_CHANNELS
    if first == last:
        raise DataError(
            f"{where}: images of shape {_by(shape)} may have their channels first or last: "
            "write data.channels: first, or last"
        )
    return last


@dataclass(frozen=True, eq=False)
class ArrayLayout(Layout):
    """A .npy file of samples, or a .npz file with such an array in it.

    Attributes:
        key: the array's name in a .npz file; one that holds a single array needs none.
        shape: of a row, as kept.
        turned: as in `Arranged`.
    """

    kind: ClassVar[str] = "arrays"

    key: str
    shape: tuple[int, ...]
    turned: bool

    def read(self, path: Path) -> NewRows:
        """As `Layout.read`: rows numbered from 0."""
        if not path.is_file():
            raise DataError(f"there is no file {path}")
        if path.suffix.lower() == ".npz":
            held = _Archive(path)
            values = held.read(held.names[0] if len(held.names) == 1 else self.key)
        else:
            values = read_npy(path)
        if values.shape[1:] != self.shape:
            raise DataError(f"{path}: rows of shape {_by(values.shape[1:])}; the model takes {_by(self.shape)}")
        content_digest(ArrayReader(values), str(path))
        return NewRows(arranged(values, self.turned), range(len(values)))

    def record(self) -> dict[str, Any]:
        """As `Layout.record`."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def restore(cls, record: dict[str, Any]) -> ArrayLayout:
        """As `Layout.restore`."""
        return cls(record["key"], tuple(record["shape"]), record["turned"])


@dataclass(frozen=True)
class Names:
    """What the arrays of a source are called: in a .npz file, or paths of .npy files; None where there is none."""

    inputs: str
    targets: str
    test_inputs: str | None
    test_targets: str | None


def read_npz(
    path: str, root: str | None, names: Names, task: OwnTask, channels: Channels, *, test_wanted: bool = False
) -> Raw:
    """The arrays of a .npz file.

    The test part is taken where one of its arrays is there, or where it is `test_wanted`.

    Raises:
        DataError: an array that is not there or of a wrong shape, values that are not finite, ...
    """
    held = _Archive(_file(find(path, root), "data.path"))
    pairs = [(names.inputs, names.targets)]
    beside = (names.test_inputs or "test_inputs", names.test_targets or "test_targets")
    if test_wanted or not set(beside).isdisjoint(held.names):
        pairs.append(beside)
    parts = [(ArrayReader(held.read(inputs)), held.read(targets)) for inputs, targets in pairs]
    where = [(f"{inputs} of {held.path}", f"{targets} of {held.path}") for inputs, targets in pairs]
    return _raw(parts, where, names.inputs, task, channels)


def read_npys(root: str | None, names: Names, task: OwnTask, channels: Channels) -> Raw:
    """The arrays of several .npy files, the inputs as readers of their rows.

    Raises:
        DataError: as `read_npz`.
    """
    paths = [(_found(names.inputs, root, "path"), _found(names.targets, root, "targets"))]
    if names.test_inputs is not None and names.test_targets is not None:
        paths.append((_found(names.test_inputs, root, "test_path"), _found(names.test_targets, root, "test_targets")))
    parts = [(open_npy(inputs), read_npy(targets)) for inputs, targets in paths]
    return _raw(parts, [(str(inputs), str(targets)) for inputs, targets in paths], "inputs", task, channels)


def read_npy(path: Path) -> Array:
    """The whole array of a .npy file.

    Raises:
        DataError: it cannot be read, or holds no plain array.
    """
    reader = open_npy(path)
    return reader.read(np.arange(len(reader)))


def content_digest(rows: Reader, where: str) -> str:
    """SHA-256 of all rows, which are read once, some at a time, and must be finite numbers.

    Raises:
        DataError: values that are no real numbers, or not finite: the first row that has one is named.
    """
    if rows.dtype.kind not in "biuf":
        raise DataError(f"{where} holds values of type {rows.dtype}, not numbers")
    found = hashlib.sha256(f"{rows.dtype} {rows.shape}".encode())
    size = rows_at_once(rows.shape)
    for start in range(0, len(rows), size):
        chunk = rows.read(np.arange(start, min(start + size, len(rows))))
        found.update(np.ascontiguousarray(chunk).data)
        if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
            row = start + 1 + int(np.argwhere(~np.isfinite(chunk))[0][0])
            raise DataError(f"{where}: row {row} holds a value that is not finite; fill it, or take the row out")
    return found.hexdigest()


Pair = tuple[Reader, Array]


def _raw(parts: Sequence[Pair], where: Sequence[tuple[str, str]], key: str, task: OwnTask, channels: Channels) -> Raw:
    """The content of two arrays, and of two more where there is a test part.

    Args:
        parts: inputs and targets.
        where: what messages call these.
        key: the name of the inputs in a .npz file.
        task: what the targets are targets of.
        channels: where images have their channels.
    """
    rows, values = parts[0]
    turned = is_turned(rows.shape, channels, where[0][0])
    digests = []
    for (inputs, targets), (of_inputs, of_targets) in zip(parts, where, strict=True):
        if inputs.shape != rows.shape:
            raise DataError(f"{of_inputs} has rows of shape {_by(inputs.shape)}, {where[0][0]} of {_by(rows.shape)}")
        _check_lengths(inputs, targets, of_inputs, of_targets)
        digests += [content_digest(inputs, of_inputs), digest(_plain(targets))]
    beside = parts[1] if len(parts) > 1 else None
    names, places = ["target"], (where[0][1], where[-1][1])
    found, others = read_targets(values, None if beside is None else beside[1], names, task, places)
    return Raw(
        inputs=_held(rows, turned),
        targets=found.values,
        classes=found.classes,
        content_hash=joined_digest(digests),
        largest=255.0 if rows.dtype == np.uint8 and len(rows.shape) > 1 else None,  # bytes of images
        test_inputs=None if beside is None else _held(beside[0], turned),
        test_targets=others,
        stated_task=task,
        layout=ArrayLayout(key, rows.shape, turned),
    )


def _held(rows: Reader, turned: bool) -> Array | Reader:
    """An array where it lies in memory already, else what reads it."""
    return arranged(rows.array, turned) if isinstance(rows, ArrayReader) else Arranged(rows, turned)


class _Archive:
    """A .npz file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            held = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is no .npz file: {_first_line(error)}") from error
        if isinstance(held, np.ndarray):
            raise DataError(f"{path} is a .npy file, of one array: write data.kind: npy")
        with held:
            self.names: list[str] = list(held.files)

    def read(self, name: str) -> Array:
        """An array of the archive.

        Raises:
            DataError: there is none of this name, or it holds no plain values.
        """
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.55)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise DataError(f"{self.path} has no array '{name}'{meant}; it has {_listed(self.names)}")
        try:
            with np.load(self.path, allow_pickle=False) as held:
                values: Array = held[name]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: cannot read the array '{name}': {_first_line(error)}") from error
        if values.ndim == 0:
            raise DataError(f"{self.path}: '{name}' is a single number, not rows")
        return values


def _check_lengths(rows: Reader, values: Array, of_inputs: str, of_targets: str) -> None:
    if len(rows) != len(values):
        raise DataError(f"{of_inputs} has {len(rows)} rows, {of_targets} has {len(values)}: a row needs a target each")
    if len(rows) == 0:
        raise DataError(f"{of_inputs} has no rows")


def _found(path: str, root: str | None, key: str) -> Path:
    return _file(find(path, root, f"data.{key}"), f"data.{key}")


def _file(path: Path, key: str) -> Path:
    if not path.is_file():
        raise DataError(f"{key}: {path} is a folder, not a file")
    return path


def _plain(values: Array) -> Array:
    """Bytes that can be hashed: words have none of their own."""
    return np.char.encode(values.astype(str), "utf-8") if values.dtype.kind in "OU" else values


def _first_line(error: Exception) -> str:
    if "pickle" in str(error):  # numpy's guess at a file of another format, with advice that is not safe
        return "it is not in numpy's format, or holds objects"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "()"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
