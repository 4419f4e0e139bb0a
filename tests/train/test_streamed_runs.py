"""Runs whose rows are read when they are wanted: the bits of runs in memory, stopped and gone on, and how they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import Starter, StopAfter, assert_same_bits, fit, fit_one, plan_of, prepare, wait_for, write_digits

from nnopt.data.dataset import Part
from nnopt.data.sources import digits
from nnopt.data.streaming import StreamedPart
from nnopt.errors import Interrupted
from nnopt.train.listener import Listener

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Digits as files of arrays."""
    raw = digits.read()
    np.save(tmp_path / "inputs.npy", raw.inputs)
    np.save(tmp_path / "targets.npy", raw.targets)
    return tmp_path / "inputs.npy"


def spec(rows: Path, in_memory: bool, **changes: Any) -> dict[str, Any]:
    data = {"kind": "npy", "path": str(rows), "targets": str(rows.parent / "targets.npy"), "in_memory": in_memory}
    return {**changes, "data": {**data, **changes.get("data", {})}}


CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "growing batch": {"strategy": {"batch_size": {"start": 16, "factor": 2.5, "at": [0.2, 0.6]}}},
    "parts of batches, augmented": {
        "strategy": {"accumulate": 3},
        "model": {"kind": "mlp", "hidden": [16]},
        "data": {"augment": [{"kind": "horizontal_flip"}]},
    },
    "all rows at once": {"strategy": {"batch_size": "full"}, "optimizer": {"kind": "gd", "lr": 0.5}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_streamed_run_has_the_bits_of_one_in_memory_stopped_on_the_way_or_not(
    tmp_path: Path, rows: Path, name: str
) -> None:
    every = {"budget": {"steps": 45}, "evaluation": {"every": {"steps": 7}}, **CHANGES[name]}
    held, streamed = spec(rows, True, **every), spec(rows, False, **every)
    assert isinstance(prepare(tmp_path, held)[1].data.train, Part)
    assert isinstance(prepare(tmp_path, streamed)[1].data.train, StreamedPart)
    assert plan_of(tmp_path, held).runs[0].hash == plan_of(tmp_path, streamed).runs[0].hash

    expected = fit_one(tmp_path, held)
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(Interrupted):
        fit(again, streamed, StopAfter(3))  # after 21 steps of 20 an epoch
    record = fit_one(again, streamed)
    assert_same_bits(expected.folder, record.folder)


def test_a_file_that_breaks_off_during_training_fails_the_run_in_a_line(tmp_path: Path, rows: Path) -> None:
    class Cutting(Listener):
        def row(self, label: str, row: dict[str, Any]) -> None:
            os.truncate(rows, 4000)

    (record,) = fit(tmp_path, spec(rows, False, budget={"epochs": 40}), Cutting())
    assert record.status == "failed"
    assert record.summary["reason"] == f"{rows} became shorter while it was read"


def test_an_interrupted_process_ends_at_once_and_goes_on(tmp_path: Path, rows: Path, starter: Starter) -> None:
    path = write_digits(tmp_path, spec(rows, False, budget={"epochs": 2000}))
    process = starter.start(tmp_path, "train", path, "--quiet")
    metrics = tmp_path / "runs" / "small" / "sgd" / "seed-0" / "metrics.csv"
    wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 3)
    process.send(signal.SIGINT)
    assert process.wait() == 130
