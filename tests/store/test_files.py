"""Writes that are whole or appended."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.errors import DiskError, RunsFolderError
from nnopt.store.files import Table, make_folder, remove_leftovers, write_json, write_whole, write_whole_with
from nnopt.store.record import read_columns


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    write_whole(path, "new: ä")
    assert path.read_text(encoding="utf-8") == "new: ä"
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["a.txt"]


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def half(file: Any) -> None:
        file.write(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError, match="the disk is full: make room"):
        write_whole_with(path, half)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "no permission to write there"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_disk_says_is_put_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DiskError, match=rf"^cannot write {tmp_path / 'a.txt'}: {words}"):
        write_whole(tmp_path / "a.txt", "text")
    assert names(tmp_path) == []


def test_the_content_is_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("fsync"), fsync(number))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b))[1])
    write_whole(tmp_path / "a.txt", "text")
    assert order == ["fsync", "replace"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_json_has_no_nan(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"value": bad})
    assert names(tmp_path) == []


def test_leftovers_of_killed_writes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".last.pt.123.tmp", ".holder.json", ".lock", "notes.tmp", "last.pt"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path, tmp_path / "not there")
    assert names(tmp_path) == [".holder.json", ".lock", "last.pt", "notes.tmp"]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunsFolderError, match="runs is in the way: it is a file"):
        make_folder(tmp_path / "runs")
    with pytest.raises(RunsFolderError, match="cannot make the folder"):
        make_folder(tmp_path / "runs" / "small")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunsFolderError, match="cannot be written: check its permissions, or give --runs-dir"):
        make_folder(tmp_path)
    tmp_path.chmod(0o700)


# ---------------------------------------------------------------------------------------------- tables

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FLOATS | st.none(), st.integers(-(10**9), 10**9)), max_size=8))
def test_numbers_read_back_as_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float | None, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    table = Table(path, ("step", "value", "count"))
    table.begin(None)
    for step, (value, count) in enumerate(rows):
        table.append([[step, value, count]])
    found = read_columns(path)
    assert found["value"] == [value for value, _ in rows]
    assert [math.copysign(1, v) for v in found["value"] if v == 0] == [math.copysign(1, v) for v, _ in rows if v == 0]
    assert found["count"] == [float(count) for _, count in rows]


def table_of(path: Path, *steps: int) -> Table:
    table = Table(path, ("step", "loss"))
    table.begin(None)
    table.append([[step, step / 10] for step in steps])
    return table


def test_rows_after_the_checkpoint_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    table = table_of(path, 1, 2, 3, 10, 11)
    table.begin(3)
    assert path.read_text() == "step,loss\n1,0.1\n2,0.2\n3,0.3\n"
    table.append([[4, 0.4]])
    assert path.read_text().endswith("3,0.3\n4,0.4\n")
    table.begin(None)
    assert path.read_text() == "step,loss\n"


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_last_line_that_was_cut_short_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "steps.csv"
    table = table_of(path, 1, 2, 12345)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    table.begin(99999)
    assert path.read_text() == "step,loss\n1,0.1\n2,0.2\n"


def test_a_table_that_is_gone_begins_anew(tmp_path: Path) -> None:
    table = table_of(tmp_path / "steps.csv", 1)
    (tmp_path / "steps.csv").unlink()
    table.begin(1)
    assert (tmp_path / "steps.csv").read_text() == "step,loss\n"
