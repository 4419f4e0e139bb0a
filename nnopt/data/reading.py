"""Rows that are read from where they lie when they are wanted: the base of data that does not fit into memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import psutil

from nnopt.data.raw import Array

Answer = TypeVar("Answer")

SHARE_OF_MEMORY = 1 / 8  # float32 tensors up to this are held; making them takes a few times as much for a while
BYTES_AHEAD = 256 * 2**20  # what threads may have read before it is wanted
_GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MOST_ROWS, _MOST_VALUES = 1024, 2**22  # of a chunk: 32 MB as float64, or one row


class Reader(Protocol):
    """The rows of a source, unscaled, one beside the other: an array that need not lie in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row: (features,) or (channels, height, width)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values, as `Raw.inputs` would have it."""
        ...

    def __len__(self) -> int: ...

    def read(self, rows: Array) -> Array:
        """The rows with these numbers [n] int64, in that order, as a new array [n, *shape] of `dtype`.

        Several threads call it at once.

        Raises:
            DataError: a row cannot be read, in words.
        """
        ...


class ArrayReader:
    """The rows of an array [n, *shape] that lies in memory or is mapped from a file."""

    def __init__(self, array: Array) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def read(self, rows: Array) -> Array:
        """The rows with these numbers, copied."""
        return np.ascontiguousarray(self.array[rows])


class Readers:
    """Threads that read. None of them is started before there is something to read, and all end with this object.

    Threads, not processes: reading a file and decoding an image release the interpreter, nothing is copied between
    processes, and no process is forked while others of its threads compute.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.count, "nnopt-reader")

    def ahead(self, size: int) -> int:
        """How many batches of `size` bytes may be asked for before they are wanted."""
        return min(2 * self.count, max(1, BYTES_AHEAD // max(size, 1)))

    def submit(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Has one of the threads do this; without threads it is done now."""
        if self.count:
            return self._threads.submit(function)
        done: Future[Answer] = Future()
        done.set_result(function())
        return done

    def each(self, functions: Iterator[Callable[[], Answer]], ahead: int) -> Iterator[Answer]:
        """What the functions give, in their order; up to `ahead` of them are under way while one is used."""
        waiting: deque[Future[Answer]] = deque()
        try:
            for function in functions:
                waiting.append(self.submit(function))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


class Rows:
    """Some rows of a reader, read by threads ahead of need.

    Args:
        reader: where they lie.
        numbers: [n] int64, which rows these are, in their order.
        readers: the threads.
    """

    def __init__(self, reader: Reader, numbers: Array, readers: Readers) -> None:
        self.reader = reader
        self.numbers = numbers
        self.readers = readers

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows together: (n, *shape of a row)."""
        return (len(self.numbers), *self.reader.shape)

    @property
    def bytes_of_row(self) -> int:
        """What a row takes as float32."""
        return 4 * math.prod(self.reader.shape)

    def read(self, places: Array) -> Array:
        """The rows at these places [m] among these rows."""
        return self.reader.read(self.numbers[places])

    def chunks(self, size: int) -> Iterator[Array]:
        """All rows in order, `size` at a time."""
        starts = range(0, len(self), size)
        reads = ((lambda start=start: self.reader.read(self.numbers[start : start + size])) for start in starts)
        return self.readers.each(reads, self.readers.ahead(size * self.bytes_of_row))


def chosen(inputs: Array | Reader, numbers: Array, readers: Readers) -> Array | Rows:
    """The rows with these numbers [m]: of an array a copy, of a reader a view."""
    return inputs[numbers] if isinstance(inputs, np.ndarray) else Rows(inputs, numbers, readers)


def rows_at_once(shape: tuple[int, ...]) -> int:
    """How many rows of this shape are worked on at a time where all are passed over."""
    return max(1, min(_MOST_ROWS, _MOST_VALUES // max(1, math.prod(shape))))


def in_chunks(inputs: Array | Rows) -> Iterator[Array]:
    """All rows in order, some at a time: the same ones, wherever they lie."""
    size = rows_at_once(inputs.shape[1:])
    if isinstance(inputs, Rows):
        return inputs.chunks(size)
    return (inputs[start : start + size] for start in range(0, len(inputs), size))


def placed(inputs: Array | Reader, in_memory: bool | Literal["auto"], readers: Readers) -> Array | Reader:
    """`inputs` where they are to lie: all in memory, or read when wanted.

    Args:
        inputs: as the source gives them.
        in_memory: "auto" holds them where their tensors take at most an eighth of the machine's memory. No number of a
            run depends on it.
        readers: the threads that read.

    Raises:
        DataError: a row cannot be read.
        MemoryError: there is not enough memory.
    """
    if isinstance(inputs, np.ndarray):
        return inputs
    size = 4 * len(inputs) * math.prod(inputs.shape)
    if not (size <= SHARE_OF_MEMORY * memory_of_machine() if in_memory == "auto" else in_memory):
        return inputs
    whole = np.empty((len(inputs), *inputs.shape), inputs.dtype)
    start = 0
    for chunk in Rows(inputs, np.arange(len(inputs)), readers).chunks(rows_at_once(inputs.shape)):
        whole[start : start + len(chunk)] = chunk
        start += len(chunk)
    return whole


def memory_of_machine() -> int:
    """Bytes of memory that this process may use: the machine's, or what its control group is limited to."""
    least = int(psutil.virtual_memory().total)
    for path in _GROUP_LIMITS:  # of the second and the first version of control groups
        try:
            limit = path.read_text().strip()
        except OSError:
            continue
        if limit.isdigit():  # not "max"
            least = min(least, int(limit))
    return least
