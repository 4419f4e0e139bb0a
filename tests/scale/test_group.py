"""The processes of one run: one that is lost, one that fails, a signal, and processes that torchrun started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import PATIENCE
from running import Told, assert_same_bits, copies_below, plan_of, summary_of, write_digits

from nnopt.errors import Interrupted, NnoptError
from nnopt.scale.processes import train_side_by_side
from nnopt.store.files import make_folder
from nnopt.store.lock import RunLock
from nnopt.store.record import RunRecord
from nnopt.train.experiment import Options

LONG: dict[str, Any] = {
    "strategy": {"threads": 1},
    "budget": {"steps": 400},
    "evaluation": {"every": {"steps": 50}},
    "parallel": {"kind": "ddp", "processes": 2},
}
FAILS = '''
"""A network that fails in the second process."""
import math
import torch.distributed
from torch import nn
from nnopt.spec.model_base import ModelSpec


class Failing(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, inputs):
        if self.training and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            raise ValueError("no batch for me")
        return self.layer(inputs.flatten(1))


class FailingSpec(ModelSpec):
    """Fails."""

    kind: str

    def build(self, input_shape, outputs):
        return Failing(math.prod(input_shape), outputs)
'''


def members() -> list[psutil.Process]:
    """The processes that train together, by age."""
    return copies_below(psutil.Process())


class KillOne(Told):
    """Kills one of the processes after the first evaluation."""

    def __init__(self, which: int) -> None:
        super().__init__()
        self.which = which
        self.has_killed = False

    def row(self, label: str, row: dict[str, Any]) -> None:
        if not self.has_killed:
            self.has_killed = True
            members()[self.which].kill()


def train(folder: Path, listener: Told, **options: Any) -> list[RunRecord]:
    return train_side_by_side(plan_of(folder, LONG), Options(folder / "runs", **options), listener, 1)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("unbroken")
    (record,) = train(folder, Told())
    assert record.status == "done"
    return record.folder


def test_a_lost_process_ends_the_run_and_leaves_it_to_be_resumed(tmp_path: Path, unbroken: Path) -> None:
    (record,) = train(tmp_path, KillOne(1))
    assert record.status == "failed"
    assert "of 2 was lost (killed by signal 9); run the same command again" in record.summary["reason"]
    assert record.summary["reason"] in (record.folder / "run.log").read_text()
    assert members() == []
    (record,) = train(tmp_path, Told())
    assert record.status == "done"
    assert_same_bits(record.folder, unbroken)
    with RunLock(record.folder):  # what is done is passed over by this process alone
        told = Told()
        train(tmp_path, told)
    assert told.words == [("skipped", "small/sgd/seed-0", "done")]


@pytest.mark.slow
def test_a_folder_that_is_held_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    make_folder(folder)
    with RunLock(folder), pytest.raises(NnoptError, match="is being written by") as found:
        train(tmp_path, Told())
    assert found.value.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_a_lost_process_is_replaced_where_asked(tmp_path: Path, unbroken: Path, which: int) -> None:
    told = KillOne(which)
    (record,) = train(tmp_path, told, max_restarts=1)
    assert record.status == "done"
    assert any("going on from the checkpoint (1 of 1)" in str(words[-1]) for words in told.words)
    assert_same_bits(record.folder, unbroken)


@pytest.mark.slow
def test_a_signal_ends_all_at_one_step(tmp_path: Path, unbroken: Path) -> None:
    class Stop(Told):
        has_stopped = False  # a second signal would end the program at once

        def row(self, label: str, row: dict[str, Any]) -> None:
            if not self.has_stopped:
                self.has_stopped = True
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(tmp_path, Stop())
    folder = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    assert summary_of(folder)["status"] == "interrupted"
    assert 50 <= summary_of(folder)["steps"] < 400
    assert members() == []
    (record,) = train(tmp_path, Told())
    assert_same_bits(record.folder, unbroken)


@pytest.mark.slow
def test_what_went_wrong_in_one_process_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    monkeypatch.syspath_prepend(str(tmp_path))
    plan = plan_of(tmp_path, {**LONG, "model": {"kind": "fails:FailingSpec"}})
    (record,) = train_side_by_side(plan, Options(tmp_path / "runs"), Told(), 1)
    assert record.summary["reason"] == "process 1 of 2 failed: ValueError: no batch for me"
    log = (record.folder / "run.log").read_text()
    assert "Traceback" in log
    assert "process 1:" in log


def torchrun(folder: Path, *args: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """`torchrun ... -m nnopt ARGS` in `folder`."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*words, "-m", "nnopt", *args],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NNOPT_RUNS_DIR": str(folder / "runs")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.slow
def test_torchrun_starts_what_trains_together(tmp_path: Path, unbroken: Path) -> None:
    """Its number of processes goes before that of the file; the lead alone prints, and a done run is passed over."""
    write_digits(tmp_path, {**LONG, "parallel": {"kind": "ddp", "processes": 7}})
    ended = torchrun(tmp_path, "train", "spec.yaml")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("written:") == 1
    assert_same_bits(tmp_path / "runs" / "small" / "sgd" / "seed-0", unbroken)
    again = torchrun(tmp_path, "train", "spec.yaml")
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_torchrun_without_parallel_is_one_line(tmp_path: Path) -> None:
    write_digits(tmp_path, {"budget": {"steps": 5}})
    ended = torchrun(tmp_path, "train", "spec.yaml")
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error")]
    assert 1 <= len(lines) <= 2  # torchrun ends the other as soon as one has failed, before its line or after it
    for line in lines:
        assert "torchrun started 2 processes, and variant sgd trains in one: give it parallel: {kind: ddp}" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    import socket

    write_digits(tmp_path, LONG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outer = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ended = subprocess.run(
            [sys.executable, "-m", "nnopt", "train", "spec.yaml"],
            cwd=tmp_path,
            env={**os.environ, **outer},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert ended.returncode == 2
    assert f"port 127.0.0.1:{port} is in use" in ended.stderr
