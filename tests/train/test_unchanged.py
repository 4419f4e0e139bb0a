"""Runs that are done are passed over only while their data is what they learned from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ended
from own_files import write_folders

WINE = Path(__file__).parents[2] / "configs" / "data" / "wine.csv"
TABLE = {
    "data": {"kind": "csv", "path": "wine.csv", "target": "grape"},
    "strategy": {"batch_size": 16},
    "budget": {"epochs": 1},
}
FOLDERS = {"data": {"kind": "images", "path": "images", "size": [8, 8], "channels": 1}, "budget": {"epochs": 1}}
LATER = 4_000_000_000  # seconds since 1970


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of one's own in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(WINE, tmp_path))


def write_later(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (LATER, LATER))


@pytest.mark.parametrize(
    "more", [(), ("seeds=2",), ("seeds=2", "--jobs", "2")], ids=["none left", "one", "side by side"]
)
def test_a_changed_table_ends_the_program_before_anything_is_trained(
    table: Path, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, more: tuple[str, ...]
) -> None:
    spec = write_spec(TABLE)
    cli("train", spec, "--quiet")
    (summary,) = runs.glob("small/*/seed-0/summary.json")
    before = summary.read_bytes()
    lines = table.read_text().splitlines(keepends=True)
    write_later(table, "".join(lines[:-1]))
    (line,) = cli("train", spec, "--quiet", *more, code=2).errors
    assert line.startswith("error: wine.csv: the content is another than when small/sgd/seed-0 was trained: ")
    assert [summary] == list(runs.glob("small/*/seed-*/summary.json"))
    assert summary.read_bytes() == before
    cli("train", spec, "--quiet", "--fresh")
    assert summary.read_bytes() != before


def test_the_same_content_written_again_and_a_table_that_is_gone_are_no_change(
    table: Path, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    spec = write_spec(TABLE)
    cli("train", spec, "--quiet")
    write_later(table, table.read_text())
    assert "done before, skipped" in cli("train", spec).stderr
    table.unlink()
    assert "done before, skipped" in cli("train", spec).stderr


def test_an_image_that_changes_deep_in_a_folder_is_noticed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Callable[..., Ended],
    write_spec: Callable[..., Path],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folders(Path("images"))
    spec = write_spec(FOLDERS)
    cli("train", spec, "--quiet")
    one, other = sorted(Path("images").glob("*/more/*.png"))[:2]
    one.write_bytes(other.read_bytes())
    os.utime(one, (LATER, LATER))
    (line,) = cli("train", spec, "--quiet", code=2).errors
    assert line.startswith("error: images: the content is another than when small/sgd/seed-0 was trained")
