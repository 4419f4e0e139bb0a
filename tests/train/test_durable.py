"""What is safe from a power cut, and when: evaluations before a checkpoint or a summary says that they are there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from running import fit, rows_of

from nnopt.store.files import Table, write_whole


def watch_disk(monkeypatch: pytest.MonkeyPatch, rows: Path) -> list[str]:
    """Names of the files that are replaced, as they are, and "rows" when the table is made safe."""
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(number: int) -> None:
        fsync(number)
        if rows.exists() and os.path.samestat(os.fstat(number), rows.stat()):
            order.append("rows")

    def noting_replace(source: Any, target: Any) -> None:
        replace(source, target)
        order.append(Path(target).name)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    return order


@pytest.mark.parametrize(("every", "times"), [(None, 4), ({"seconds": 1000}, 1), ({"steps": 40}, 2)])
def test_evaluations_are_safe_before_a_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: dict[str, float] | None, times: int
) -> None:
    order = watch_disk(monkeypatch, tmp_path / "runs/small/sgd/seed-0/metrics.csv")
    fit(tmp_path, {"budget": {"epochs": 4}, "checkpoint": {"every": every, "best": False}})
    kept = [name for name in order if name in ("rows", "last.pt")]
    assert kept == ["rows", "last.pt"] * times, "and no more often: each costs milliseconds"
    assert order[-1] == "summary.json"


def test_evaluations_are_safe_before_a_summary_says_how_the_run_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = watch_disk(monkeypatch, tmp_path / "runs/small/sgd/seed-0/metrics.csv")
    changes: dict[str, Any] = {"loss": {"kind": "mse"}, "model": {"kind": "linear"}, "optimizer": {"lr": 1e4}}
    changes |= {"evaluation": {"at_start": True}, "checkpoint": {"every": {"steps": 1000}}}
    (record,) = fit(tmp_path, changes)
    assert record.status == "diverged"
    assert rows_of(record.folder / "metrics.csv")
    assert order[-2:] == ["rows", "summary.json"]


def test_a_table_is_made_safe_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(tmp_path / "a.csv", ["step", "loss"])
    table.begin(None)
    order = watch_disk(monkeypatch, table.path)
    table.append([[1, 0.5]])
    table.sync()
    table.sync()
    assert order == ["rows"]
    table.append([[2, 0.25]])
    table.sync()
    assert order == ["rows"] * 2
    assert table.path.read_text() == "step,loss\n1,0.5\n2,0.25\n"


def test_what_need_not_outlive_a_power_cut_is_whole_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = watch_disk(monkeypatch, tmp_path / ".a.txt.tmp")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_whole(tmp_path / "a.txt", "text", sync=False)
    assert (order, synced) == (["a.txt"], [])
    assert (tmp_path / "a.txt").read_text() == "text"
