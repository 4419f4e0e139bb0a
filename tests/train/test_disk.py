"""A disk that refuses a write ends the program in one line; with room again the run goes on to the same bits."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Starter, assert_same_bits, fit, fit_one, summary_of, write_digits

from nnopt.errors import DiskError
from nnopt.store.find import read_run
from nnopt.train import checkpoint

# The state of Adam takes four times the weights: last.pt is far larger than every other file.
CHANGES: dict[str, Any] = {
    "optimizer": {"kind": "adam", "lr": 0.01},
    "model": {"hidden": [64], "dropout": 0.2},
    "checkpoint": {"every": {"steps": 6}},
    "budget": {"epochs": 3},
}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The folder of the same run on a disk with room."""
    (tmp_path / "whole").mkdir()
    return fit_one(tmp_path / "whole", CHANGES).folder


def no_space(*_args: object, **_named: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("limit", "name"), [(30_000, "last.pt"), (900, "summary.json")])
def test_a_write_that_the_system_refuses_ends_the_program_in_one_line(
    tmp_path: Path, starter: Starter, whole: Path, limit: int, name: str
) -> None:
    write_digits(tmp_path, CHANGES)
    process = starter.run(tmp_path, "train", "spec.yaml", "--quiet", code=1, file_limit=limit)
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: cannot write ")
    assert name in line
    assert "File too large" in line
    folder = tmp_path / "runs" / "small" / "adam" / "seed-0"
    assert not list(tmp_path.glob("runs/**/*.tmp"))

    starter.run(tmp_path, "train", "spec.yaml")
    assert_same_bits(whole, folder)


def test_a_disk_that_fills_up_on_the_way(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is refused from the fourth checkpoint on: also the summary that would say so."""
    save, saved = checkpoint.save_last, []

    def fill_up(folder: Path, content: dict[str, Any]) -> None:
        saved.append(content["state"]["progress"]["step"])
        if len(saved) == 4:
            monkeypatch.setattr(os, "fsync", no_space)
        save(folder, content)

    monkeypatch.setattr(checkpoint, "save_last", fill_up)
    with pytest.raises(
        DiskError, match=r"cannot write .*last\.pt: the disk is full: make room and run the same command"
    ):
        fit(tmp_path, CHANGES)
    folder = tmp_path / "runs" / "small" / "adam" / "seed-0"
    assert summary_of(folder)["status"] == "running", "nothing could be written"
    assert read_run(folder).status == "interrupted", "and yet it is known"
    monkeypatch.undo()

    record = fit_one(tmp_path, CHANGES)
    assert "resumed at step 18" in (folder / "run.log").read_text()
    assert_same_bits(whole, record.folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small disk needs root on Linux")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(tmp_path: Path, starter: Starter, whole: Path, small_disk: Path) -> None:
    write_digits(tmp_path, CHANGES)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(600_000 - 150_000))  # last.pt takes about 65 kB: the second or third does not fit
    process = starter.run(tmp_path, "train", "spec.yaml", "--quiet", code=1, runs=small_disk / "runs")
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"error: cannot write {small_disk}")
    assert line.endswith("the disk is full: make room and run the same command again to go on")

    filler.unlink()
    starter.run(tmp_path, "train", "spec.yaml", "--quiet", runs=small_disk / "runs")
    folder = small_disk / "runs" / "small" / "adam" / "seed-0"
    assert "resumed at step" in (folder / "run.log").read_text()
    assert_same_bits(whole, folder)


@pytest.mark.parametrize("name", ["metrics.csv", "steps.csv", "run.log"])
def test_a_refused_line_of_a_table_or_log_leaves_whole_lines(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The file takes half of the line and refuses the rest, as a disk does that fills up within a write."""
    plain_open, opened = Path.open, []

    class Refusing:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_rest: object) -> None:
            self.file.close()

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self.file, attribute)

        def write(self, text: Any) -> None:
            self.file.write(text[: len(text) // 2])
            self.file.flush()
            no_space()

    def open_refusing(self: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
        file = plain_open(self, mode, *args, **named)
        if self.name == name and "a" in mode:
            opened.append(self)
            if len(opened) == 2:
                return Refusing(file)
        return file

    monkeypatch.setattr(Path, "open", open_refusing)
    with pytest.raises(DiskError, match=rf"{name}: the disk is full"):
        fit(tmp_path, CHANGES)
    monkeypatch.undo()
    record = fit_one(tmp_path, CHANGES)
    assert_same_bits(whole, record.folder)


def test_a_report_that_cannot_be_written_is_one_line_and_the_runs_stay_done(tmp_path: Path, starter: Starter) -> None:
    write_digits(tmp_path)
    process = starter.run(tmp_path, "train", "spec.yaml", "--quiet", code=1, file_limit=20_000)
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: cannot write ")
    assert "convergence.png" in line
    assert starter.run(tmp_path, "list").stdout.count(" done ") == 1
    again = starter.run(tmp_path, "train", "spec.yaml")
    assert "done before, skipped" in again.stderr
    assert (tmp_path / "runs" / "small" / "convergence.png").exists()
