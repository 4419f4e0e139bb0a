"""A run that is killed at random moments, again and again, ends bit for bit as one that was left alone."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from running import Process, Starter, assert_same_bits, rows_of, summary_of, wait_for, write_digits

# 26 steps an epoch, the last of 22 samples. Between them the variants have every kind of state there is on a CPU.
STEPS_AN_EPOCH = 26
SPEC: dict[str, Any] = {
    "name": "killed",
    "seeds": [3],
    "strategy": {"batch_size": 48},
    "budget": {"epochs": 40},
    "evaluation": {"every": {"epochs": 0.5}, "target": {"metric": "val_accuracy", "value": 0.9}, "at_start": True},
    "checkpoint": {"every": {"steps": 7}},
    "logging": {"every": 3},
    "variants": {
        "adam": {
            "model": {"hidden": [256, 128], "norm": "batch", "dropout": 0.3},
            "optimizer": {"kind": "adam", "lr": 3e-3, "amsgrad": True, "weight_decay": 1e-2},
            "strategy": {
                "average": {"kind": "ema", "decay": 0.95},
                "lr_decay": {"kind": "plateau", "patience": 2, "factor": 0.5},
                "clip_norm": 1.0,
            },
        },
        "momentum": {
            "model": {"hidden": [64], "norm": "batch", "dropout": 0.2},
            "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
            "loss": {"l2": 1e-4, "l1": 1e-5},
            "strategy": {
                "accumulate": 2,
                "average": {"kind": "swa", "start": 0.2, "every": {"steps": 10}},
                "lr_decay": {"kind": "cosine", "warmup": 0.1},
                "early_stopping": {"metric": "val_loss", "patience": 8, "min_delta": 0.002},
            },
        },
        "growing": {
            "model": {"hidden": [64, 32], "norm": "layer", "dropout": 0.1},
            "optimizer": {"kind": "adamw", "lr": 2e-3},
            "strategy": {"batch_size": {"start": 24, "factor": 1.7, "at": [0.2, 0.45, 0.7]}},
        },
    },
}


def run_folder(top: Path, variant: str) -> Path:
    return top / "runs" / "killed" / variant / "seed-3"


def newest_checkpoint(folder: Path) -> int:
    """When a run's newest checkpoint was written; 0 before the first."""
    path = folder / "checkpoints" / "last.pt"
    return path.stat().st_mtime_ns if path.exists() else 0


def half_written(folder: Path) -> bool:
    """Whether the newest checkpoint is being written."""
    return any(name.startswith(".last.pt") for name in os.listdir(folder / "checkpoints"))


def kill_while_it_writes(process: Process, folder: Path) -> bool:
    """SIGKILL as soon as a checkpoint is seen half-written; whether it was still half-written then."""
    wait_for(lambda: half_written(folder) or process.poll() is not None, pause=0)
    process.send(signal.SIGKILL)
    process.wait()
    return half_written(folder)


NUMBERS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
CODES = {"write": -signal.SIGKILL, "kill": -signal.SIGKILL, "term": 143, "int": 130}


def kill_again_and_again(top: Path, variant: str, moments: list[str], longest_wait: float, starter: Starter) -> int:
    """One command, started and killed at each of `moments`; how many kills tore a checkpoint that was being written."""
    folder = run_folder(top, variant)
    draw = random.Random(variant)
    draw.shuffle(moments)
    torn = 0
    for kill, moment in enumerate(moments):
        before = newest_checkpoint(folder)
        process = starter.start(top, "train", "spec.yaml")
        # Some progress first, so that the kills come to an end.
        wait_for(
            lambda before=before, process=process: newest_checkpoint(folder) > before or process.poll() is not None
        )
        if moment == "write":
            torn += kill_while_it_writes(process, folder)
        else:
            time.sleep(draw.uniform(0, longest_wait))
            process.send(NUMBERS[moment])
        assert process.wait() == CODES[moment], f"kill {kill} ({moment}) came too late: {process.stderr}"
        assert summary_of(folder)["status"] in ("running", "interrupted")
        if moment in ("term", "int"):
            assert process.stderr.splitlines()[-1].startswith("error: interrupted: ")
    return torn


@pytest.mark.parametrize(
    ("variant", "moments"),
    [
        ("adam", ["write"] * 3 + ["kill"] * 2 + ["term"] * 2 + ["int"]),
        pytest.param("momentum", ["write", "write", "kill", "kill", "term", "int"], marks=pytest.mark.slow),
        pytest.param("growing", ["write", "write", "kill", "kill", "term", "int"], marks=pytest.mark.slow),
    ],
)  # twenty kills in all
def test_kills_at_random_moments_leave_no_trace_in_the_bits(
    tmp_path: Path, starter: Starter, variant: str, moments: list[str]
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for top in (unbroken, broken):
        top.mkdir()
        write_digits(top, {**SPEC, "variants": {variant: SPEC["variants"][variant]}})
    starter.run(unbroken, "train", "spec.yaml")
    left, right = run_folder(unbroken, variant), run_folder(broken, variant)
    seconds = sum(summary_of(left)["seconds"].values())
    torn = kill_again_and_again(broken, variant, moments, seconds / len(moments) / 1.6, starter)
    starter.run(broken, "train", "spec.yaml")

    assert_same_bits(left, right)
    assert not list((right / "checkpoints").glob(".*")), "what a kill left half-written is cleared away"
    resumed = [int(step) for step in re.findall(r"resumed at step (\d+)", (right / "run.log").read_text())]
    assert len(resumed) == len(moments)
    assert sum(step % STEPS_AN_EPOCH != 0 for step in resumed) >= len(moments) // 2, "mostly in the middle of an epoch"
    assert torn >= 1, "some were in the middle of writing a checkpoint"
    # The parts of the strategy were not idle: the state that had to survive was there.
    summary = summary_of(right)
    assert summary["bits_promised"]
    assert summary["target"]["reached"]
    assert summary["reason"].startswith("stopped early") == (variant == "momentum")
    rates = {row["lr"] for row in rows_of(right / "metrics.csv")}
    assert (len(rates) > 1) == (variant != "growing")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_of_the_step_it_came_at(
    tmp_path: Path, starter: Starter, number: int, code: int
) -> None:
    write_digits(tmp_path, {"budget": {"steps": 10**6}, "evaluation": {"every": {"steps": 10**6}}})
    folder = tmp_path / "runs" / "small" / "sgd" / "seed-0"
    process = starter.start(tmp_path, "train", "spec.yaml")
    wait_for(lambda: (folder / "steps.csv").exists() and (folder / "steps.csv").read_text().count("\n") > 50)
    process.send(number)
    assert process.wait() == code
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("error")]
    assert line == "error: interrupted: run the same command again to go on from the checkpoint"
    summary = summary_of(folder)
    assert summary["status"] == "interrupted"
    assert summary["reason"] == f"signal {number}: checkpointed at this step"
    assert (folder / "checkpoints" / "last.pt").exists()
    assert summary["steps"] == (folder / "steps.csv").read_text().count("\n") - 1
    assert starter.run(tmp_path, "list").stdout.count("interrupted") == 1


def test_a_second_signal_ends_the_program_at_once(tmp_path: Path, starter: Starter) -> None:
    write_digits(tmp_path, {"budget": {"steps": 10**6}, "evaluation": {"every": {"steps": 10**6}}})
    process = starter.start(tmp_path, "train", "spec.yaml")
    wait_for(lambda: list(tmp_path.glob("runs/small/sgd/seed-0/steps.csv")))
    process.send(signal.SIGTERM)
    process.send(signal.SIGINT)
    assert process.wait() in (130, 143)
