"""Rows of a .npy file, read one by one without holding the file."""

from __future__ import annotations

import math
import os
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nnopt.data.raw import Array
from nnopt.data.reading import ArrayReader, Reader
from nnopt.errors import DataError

_MOST_AT_ONCE = 2**30  # bytes of one system call; Linux reads at most 2 GiB


class NpyReader:
    """Rows that lie one after the other in a file.

    They are read into new arrays, not mapped: pages of a map would be counted as memory of the process.
    """

    def __init__(self, path: Path, start: int, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self._start = start
        self._count = count
        self._row = math.prod(shape) * dtype.itemsize
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size < start + count * self._row:
            raise DataError(f"{path} ends before its {count} rows of shape {list(shape)} do: it was cut off")

    def __len__(self) -> int:
        return self._count

    def read(self, rows: Array) -> Array:
        """The rows with these numbers; those that follow each other in one call of the system."""
        found = np.empty((len(rows), *self.shape), self.dtype)
        if found.size == 0:
            return found
        view = found.reshape(-1).view(np.uint8).data
        breaks = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        for first, end in pairwise(breaks):
            self._fill(view[first * self._row : end * self._row], self._start + int(rows[first]) * self._row)
        return found

    def _fill(self, view: memoryview, place: int) -> None:
        while view:
            try:
                count = os.preadv(self._file, [view[:_MOST_AT_ONCE]], place)
            except OSError as error:
                raise DataError(f"{self.path} cannot be read: {error.strerror}") from error
            if count == 0:
                raise DataError(f"{self.path} became shorter while it was read")
            view, place = view[count:], place + count


def open_npy(path: Path) -> Reader:
    """The rows of the array [n, ...] in a .npy file.

    Raises:
        DataError: it cannot be read, is no .npy file or cut off, or holds something else than rows of numbers.
    """
    try:
        with path.open("rb") as file:
            shape, by_column, dtype = _header(file)
            start = file.tell()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} is no .npy file: {(str(error).splitlines() or ['it is damaged'])[0]}") from error
    if dtype.kind not in "biuf":
        raise DataError(f"{path} holds {'objects' if dtype.hasobject else dtype}, not plain numbers")
    if not shape:
        raise DataError(f"{path} holds a single number, not rows")
    rows = NpyReader(path, start, shape[0], shape[1:], dtype)
    # By columns, a row is spread over the whole file; and Windows cannot read at a place of a shared file.
    if (by_column or not hasattr(os, "preadv")) and 0 not in shape:
        return ArrayReader(np.memmap(path, dtype, "r", start, shape, "F" if by_column else "C"))
    return rows


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns lie one after the other (Fortran), and type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"its version {version[0]}.{version[1]} is for named columns")
