"""Rows that are read when they are wanted: the same numbers as in memory, and memory that does not grow."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnopt.data import reading
from nnopt.data.batches import Order, Position
from nnopt.data.dataset import Dataset, Part
from nnopt.data.feed import Feed
from nnopt.data.npy import NpyReader, open_npy
from nnopt.data.prepare import prepare
from nnopt.data.raw import Raw
from nnopt.data.reading import ArrayReader, Reader, Readers, memory_of_machine, placed, rows_at_once
from nnopt.data.streaming import StreamedPart
from nnopt.errors import DataError
from nnopt.spec.data.arrays import Npy

KEYS = {"validation": 20, "test": 30, "split_seed": 3}
RANDOM = np.random.default_rng(0)
ROWS = 2100  # more than two of the chunks in which a normalisation is fitted
INPUTS = {
    "bytes of images": RANDOM.integers(0, 256, (ROWS, 3, 4, 5), dtype=np.uint8),
    "float32": RANDOM.normal(5, 3, (ROWS, 4)).astype(np.float32),
    "float64": RANDOM.normal(5, 3, (ROWS, 4)),
    "big-endian integers": RANDOM.integers(-9, 9, (ROWS, 4)).astype(">i2"),
}
TARGETS = RANDOM.integers(0, 3, ROWS)


def written(folder: Path, array: np.ndarray) -> Path:
    path = folder / "rows.npy"
    np.save(path, array)
    return path


def data_sets(inputs: np.ndarray, reader: Reader, normalise: str, workers: int = 2) -> tuple[Dataset, Dataset]:
    """One data set in memory, and the same one streamed."""
    held = Raw(inputs, TARGETS, ("a", "b", "c"), "hash")
    streamed = dataclasses.replace(held, inputs=reader, workers=workers)
    return tuple(prepare("rows", raw, normalise=normalise, **KEYS) for raw in (held, streamed))


def feeds(workers: int = 2, seed: int = 7) -> tuple[Feed, Feed]:
    both = data_sets(INPUTS["float32"], ArrayReader(INPUTS["float32"]), "standard", workers)
    return tuple(Feed(data.train, Order(seed, len(data.train), torch.device("cpu")), seed) for data in both)


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("normalise", ["unit", "standard", "none"])
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_streamed_rows_are_those_in_memory_bit_for_bit(inputs: np.ndarray, normalise: str, tmp_path: Path) -> None:
    held, streamed = data_sets(inputs, open_npy(written(tmp_path, inputs)), normalise)
    assert (streamed.input_shape, streamed.outputs) == (held.input_shape, held.outputs)
    for name in ("train", "validation", "test"):
        one, other = getattr(held, name), getattr(streamed, name)
        assert isinstance(one, Part)
        assert isinstance(other, StreamedPart)
        assert len(one) == len(other)
        assert same(one.gather(None), other.gather(None))
        rows = torch.randint(len(one), (9,), generator=torch.Generator().manual_seed(1))
        assert same(one.gather(rows), other.gather(rows))
        assert torch.equal(one.first(3), other.first(3))
        assert torch.equal(one.all_targets(), other.all_targets())
        for mine, theirs in zip(one.chunks(64), other.chunks(64), strict=True):
            assert same(mine, theirs)


def test_an_official_test_part_streams_as_well() -> None:
    table = INPUTS["float64"]
    held = Raw(table, TARGETS, ("a", "b", "c"), "hash", test_inputs=table[:50], test_targets=TARGETS[:50])
    streamed = dataclasses.replace(held, inputs=ArrayReader(table), test_inputs=ArrayReader(table[:50]))
    one, other = (
        prepare("rows", raw, validation=20, test=None, split_seed=0, normalise="unit") for raw in (held, streamed)
    )
    assert isinstance(other.test, StreamedPart)
    assert same(one.test.gather(None), other.test.gather(None))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([64, 100, 999, ROWS]), st.integers(1, 6)), min_size=1, max_size=5),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 20),
)
def test_prefetched_batches_are_those_in_memory(
    sizes: list[tuple[int, int]], workers: int, epoch: int, begun: int
) -> None:
    """Whatever the batch grows to, wherever a resume begins, over the ends of epochs."""
    held, streamed = feeds(workers)
    mine, theirs = Position(epoch, begun * 64), Position(epoch, begun * 64)
    for size, times in sizes:
        for _ in range(times):
            one, other = held.take(mine, size), streamed.take(theirs, size)
            assert mine == theirs
            assert (one.rows is None) == (other.rows is None)
            assert same((one.inputs, one.targets), (other.inputs, other.targets))
            if one.rows is not None:
                assert torch.equal(one.rows, other.rows)


class Counted(ArrayReader):
    """Notes what was read, and by which thread."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array)
        self.seen: list[tuple[int, str]] = []

    def read(self, rows: np.ndarray) -> np.ndarray:
        self.seen.append((len(rows), threading.current_thread().name))
        return super().read(rows)


def test_the_next_batches_are_read_by_threads_and_no_more_of_them() -> None:
    reader = Counted(INPUTS["float32"])
    _, data = data_sets(INPUTS["float32"], reader, "none", workers=2)
    reader.seen.clear()
    feed = Feed(data.train, Order(0, len(data.train), torch.device("cpu")), 0)
    position = Position()
    for step in range(3):
        feed.take(position, 64)
        expected = 1 + step + 4  # two a thread
        deadline = time.monotonic() + 10
        while len(reader.seen) < expected and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(reader.seen) == expected
    assert all(name.startswith("nnopt-reader") for _, name in reader.seen)


def test_without_workers_nothing_is_read_ahead() -> None:
    reader = Counted(INPUTS["float32"])
    _, data = data_sets(INPUTS["float32"], reader, "none", workers=0)
    reader.seen.clear()
    Feed(data.train, Order(0, len(data.train), torch.device("cpu")), 0).take(Position(), 64)
    assert reader.seen == [(64, threading.current_thread().name)]


def test_a_whole_data_set_as_one_batch_is_read_once() -> None:
    reader = Counted(INPUTS["float32"])
    _, data = data_sets(INPUTS["float32"], reader, "none")
    reader.seen.clear()
    feed = Feed(data.train, Order(0, len(data.train), torch.device("cpu")), 0)
    assert len(feed.take(Position(), len(data.train))) == len(data.train)
    assert [count for count, _ in reader.seen] == [len(data.train)]


def test_what_may_be_under_way_is_bounded_in_bytes() -> None:
    readers = Readers(8)
    assert readers.ahead(1000) == 16
    assert readers.ahead(reading.BYTES_AHEAD // 3) == 3
    assert readers.ahead(reading.BYTES_AHEAD * 9) == 1
    assert Readers(0).ahead(1000) == 0


def test_a_chunk_of_large_rows_has_few_of_them() -> None:
    """1024 colour images of 224x224 would be 1.2 GB as float64."""
    found = [rows_at_once(shape) for shape in ((), (64,), (3, 32, 32), (3, 224, 224), (10**9,))]
    assert found == [1024, 1024, 1024, 27, 1]


def test_threads_end_with_the_data() -> None:
    def alive() -> int:
        return sum(thread.name.startswith("nnopt-reader") for thread in threading.enumerate())

    gc.collect()
    before = alive()
    _, feed = feeds()
    feed.take(Position(), 64)
    assert alive() > before
    del feed
    gc.collect()
    deadline = time.monotonic() + 10
    while alive() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert alive() == before


class Broken(ArrayReader):
    """Can read but its first rows."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        if rows.max() >= 1500:
            raise DataError("rows.bin is damaged at row 1500")
        return super().read(rows)


def test_an_error_of_a_thread_comes_with_the_batch_it_belongs_to() -> None:
    _, data = data_sets(INPUTS["float32"], Broken(INPUTS["float32"]), "none")
    feed = Feed(data.train, Order(0, len(data.train), torch.device("cpu")), 0)
    with pytest.raises(DataError, match="damaged at row 1500"):
        feed.take(Position(), 200)
    with pytest.raises(DataError, match="damaged at row 1500"):
        list(data.train.chunks(100))


def test_an_epoch_takes_as_much_memory_as_some_batches(tmp_path: Path) -> None:
    """64 MB of rows, of which each batch has 200 kB: file, scaled copy and what is read ahead stay below a tenth."""
    path = tmp_path / "rows.npy"
    rows, width = 8000, 1000
    array = np.lib.format.open_memmap(path, "w+", np.float64, (rows, width))
    array[:] = np.arange(width)
    array[::2] += 1
    array.flush()
    del array
    raw = Raw(open_npy(path), np.arange(rows) % 3, ("a", "b", "c"), "hash")
    tracemalloc.start()
    try:
        data = prepare("rows", raw, normalise="none", **KEYS)
        feed = Feed(data.train, Order(0, len(data.train), torch.device("cpu")), 0)
        position = Position()
        total = 0.0
        while position.epoch == 0:
            total += float(feed.take(position, 25).inputs.sum())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 0
    assert peak < 6.4e6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, ROWS - 1), max_size=40), st.sampled_from(sorted(INPUTS)))
def test_rows_of_a_file_are_those_that_numpy_reads(numbers: list[int], name: str) -> None:
    array = INPUTS[name]
    reader = open_npy(FILES / f"{name}.npy")
    assert (len(reader), reader.shape, reader.dtype) == (len(array), array.shape[1:], array.dtype)
    chosen = np.array(numbers, dtype=np.int64)
    np.testing.assert_array_equal(reader.read(chosen), array[chosen])


@pytest.fixture(scope="module", autouse=True)
def _files(tmp_path_factory: pytest.TempPathFactory) -> None:
    global FILES
    FILES = tmp_path_factory.mktemp("npy")
    for name, array in INPUTS.items():
        np.save(FILES / f"{name}.npy", array)


FILES = Path()


def test_a_file_in_the_order_of_fortran(tmp_path: Path) -> None:
    table = np.asfortranarray(INPUTS["float64"])
    reader = open_npy(written(tmp_path, table))
    numbers = np.array([5, 2, 2])
    assert (len(reader), reader.shape, reader.dtype) == (ROWS, (4,), np.float64)
    assert reader.read(numbers).flags.c_contiguous
    np.testing.assert_array_equal(reader.read(numbers), table[numbers])


def test_without_reading_at_a_place_a_file_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, INPUTS["float32"])
    monkeypatch.delattr("os.preadv")
    reader = open_npy(path)
    assert isinstance(reader, ArrayReader)
    numbers = np.array([5, 2, 2])
    np.testing.assert_array_equal(reader.read(numbers), INPUTS["float32"][numbers])


def test_files_that_are_no_rows_of_numbers(tmp_path: Path) -> None:
    def refused(path: Path, words: str) -> None:
        with pytest.raises(DataError, match=words) as error:
            open_npy(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    whole = written(tmp_path, INPUTS["float64"]).read_bytes()
    path = tmp_path / "bad.npy"
    refused(path, "No such file")
    for content, words in (
        (whole[:-8], "was cut off"),
        (whole[:20], "no .npy file"),
        (b"", "no .npy file"),
        (b"a,b\n1,2\n", "no .npy file"),
    ):
        path.write_bytes(content)
        refused(path, words)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(path, "objects")
    np.save(path, np.float64(3))
    refused(path, "single number")
    np.save(path, np.array(["a", "b"]))
    refused(path, "not plain numbers")
    np.savez(tmp_path / "many", INPUTS["float64"])
    refused(tmp_path / "many.npz", "no .npy file")


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, INPUTS["float64"])
    reader = open_npy(path)
    assert isinstance(reader, NpyReader)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="became shorter"):
        reader.read(np.array([ROWS - 1]))


def test_where_rows_are_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = INPUTS["float32"]
    reader, readers = ArrayReader(table), Readers(1)
    assert placed(reader, False, readers) is reader
    assert placed(table, False, readers) is table
    np.testing.assert_array_equal(placed(reader, True, readers), table)
    monkeypatch.setattr(reading, "memory_of_machine", lambda: 8 * 4 * table.size)
    np.testing.assert_array_equal(placed(reader, "auto", readers), table)
    monkeypatch.setattr(reading, "memory_of_machine", lambda: 8 * 4 * table.size - 1)
    assert placed(reader, "auto", readers) is reader


def test_more_rows_than_any_memory_holds() -> None:
    class Huge(ArrayReader):
        def __len__(self) -> int:
            return 2**50

    class Endless(Npy):
        def read(self) -> Raw:
            return Raw(Huge(INPUTS["float32"]), TARGETS, ("a", "b", "c"), "hash")

    data = Endless(kind="npy", path="rows.npy", targets="targets.npy", in_memory=True)
    with pytest.raises(DataError, match=r"^data.in_memory: its .* rows need more memory than there is: write false$"):
        data.load()


def test_the_memory_of_a_control_group_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "_GROUP_LIMITS", (tmp_path / "none", tmp_path / "limit"))
    whole = memory_of_machine()
    (tmp_path / "limit").write_text("max\n")
    assert memory_of_machine() == whole
    (tmp_path / "limit").write_text("2147483648\n")
    assert memory_of_machine() == min(whole, 2**31)
