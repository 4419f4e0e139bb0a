"""`--on slurm` through submitit's executor for processes of this machine: the same path but for sbatch."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from running import Starter, Told, assert_same_bits, fit, plan_of, summary_of, wait_for, write_digits

from nnopt.scale.processes import train_runs
from nnopt.store.find import run_folders
from nnopt.store.lock import HOLDER
from nnopt.train.experiment import Options

ON = "slurm:local"
LONG: dict[str, Any] = {"budget": {"epochs": 60}, "model": {"dropout": 0.2}}
ENDLESS: dict[str, Any] = {"budget": {"steps": 10**7}, "evaluation": {"every": {"steps": 50}}}


@dataclass
class SendOnce(Told):
    """Sends a signal to the process that trains, at its second row."""

    folder: Path = Path()
    number: int = signal.SIGKILL
    rows: int = 0
    sent: list[int] = field(default_factory=list)

    def row(self, label: str, row: dict[str, Any]) -> None:
        self.rows += 1
        if self.rows >= 2 and not self.sent:
            self.sent.append(json.loads((self.folder / HOLDER).read_text())["pid"])
            os.kill(self.sent[0], self.number)


def train(folder: Path, changes: dict[str, Any], told: Told, **options: Any) -> Path:
    """The folder of the one run, trained by a job; it must end as done."""
    (record,) = train_runs(plan_of(folder, changes), Options(folder / "runs", **options), told, on=ON)
    assert record.status == "done", record.summary["reason"]
    return record.folder


# USR2 is what SLURM sends when a job's time is up, or another job goes before.
@pytest.mark.parametrize("number", [signal.SIGUSR2, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_job_that_is_cut_short_goes_on_in_another(tmp_path: Path, number: int) -> None:
    told = SendOnce(folder=tmp_path / "runs/small/sgd/seed-0", number=number)
    folder = train(tmp_path, LONG, told, max_restarts=1)
    assert told.sent
    log = (folder / "run.log").read_text()
    assert "resumed at step" in log
    notes = [words[2] for words in told.words if words[0] == "note"]
    assert [("going on from the checkpoint (1 of 1)" in note) for note in notes] == [True] * (number == signal.SIGKILL)
    assert [words[0] for words in told.words][-1] == "ended"
    (tmp_path / "whole").mkdir()
    (whole,) = fit(tmp_path / "whole", LONG)
    assert_same_bits(whole.folder, folder)
    assert run_folders(tmp_path / "runs") == [folder], "what submitit writes is no run"
    assert not list((tmp_path / "runs").glob(".crew-*"))


@pytest.mark.slow
def test_ctrl_c_ends_jobs_at_a_checkpoint(tmp_path: Path, starter: Starter) -> None:
    write_digits(tmp_path, ENDLESS)
    process = starter.start(tmp_path, "train", "spec.yaml", "--on", ON, "--quiet")
    folder = tmp_path / "runs/small/sgd/seed-0"
    wait_for(lambda: (folder / "checkpoints/last.pt").exists() and (folder / HOLDER).exists(), pause=0.05)
    worker = psutil.Process(json.loads((folder / HOLDER).read_text())["pid"])
    process.send(signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr == "error: interrupted: run the same command again to go on from the checkpoint\n"
    assert summary_of(folder)["status"] == "interrupted"
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


SBATCH = """#!/bin/sh
cp "$1" {folder}/asked.sh
echo "sbatch: error: invalid partition specified: nowhere" >&2
exit 1
"""


def test_sbatch_is_asked_for_what_the_file_says(
    cli: Callable[..., Any], write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for sbatch, which refuses as the real one does."""
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(SBATCH.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    cluster = yaml.safe_load(
        "{partition: nowhere, hours: 1.5, cpus: 4, gpus: 1, memory: 8.0, account: me, extra: {constraint: a100}, "
        "setup: [module load cuda]}"
    )
    ended = cli("train", write_spec({"cluster": cluster}), "--on", "slurm", code=2)
    refused = "error: SLURM takes no job: sbatch: error: invalid partition specified: nowhere"
    assert ended.errors == [f"{refused}; its options are in the file, below cluster"]
    asked = (tmp_path / "asked.sh").read_text().splitlines()
    for line in (
        "#SBATCH --partition=nowhere",
        "#SBATCH --time=90",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --mem=8GB",
        "#SBATCH --account=me",
        "#SBATCH --constraint=a100",
        "#SBATCH --signal=USR2@120",
        "module load cuda",
    ):
        assert line in asked, line
