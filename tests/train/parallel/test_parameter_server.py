"""The parameter server: staleness stays within its bound, and at 0 it trains as one process does, to the bit."""

from __future__ import annotations

import importlib.util
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import psutil
import pytest
import torch
import yaml
from command_line import Ended
from running import DIGITS, Starter, prepare, rows_of, state_of, summary_of, wait_for, write_digits

from nnopt.spec.merge import merge
from nnopt.spec.metric_names import TRAFFIC
from nnopt.surroundings import Surroundings
from nnopt.train import checkpoint
from nnopt.train.parallel.gradient_worker import (
    Batch,
    Draws,
    GradientWorker,
    arrays_of,
    buffers_of,
    draws_now,
)
from nnopt.train.parallel.parameter_server import turns


def server(workers: int = 2, staleness: int = 2) -> dict[str, Any]:
    """The change that takes a parameter server."""
    return {"parallel": {"kind": "parameter_server", "workers": workers, "staleness": staleness}}


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("staleness", [0, 1, 2, 6])
def test_no_gradient_is_ever_older_than_the_bound_and_none_is_thrown_away(workers: int, staleness: int) -> None:
    """Workers that answer in any order, some of them hundreds of times later than others."""
    draw = random.Random(10 * workers + staleness)
    flights: list[tuple[int, int]] = []  # version, name
    ages, given, applied = [], 0, []
    for step in range(2000):
        while len(flights) < min(workers, staleness + 1):
            flights.append((step, given))
            given += 1
        allowed = flights[: turns([version for version, _ in flights], step, staleness)]
        assert allowed
        chosen = draw.choice(allowed[-1:] if draw.random() < 0.9 else allowed)  # the first are slow
        flights.remove(chosen)
        ages.append(step - chosen[0])
        applied.append(chosen[1])
    assert max(ages) <= staleness
    assert sorted(applied + [name for _, name in flights]) == list(range(given))
    if staleness == 0 or workers == 1:
        assert applied == list(range(2000))
    else:
        assert max(ages) == staleness  # the bound is used


SETTINGS: dict[str, Any] = {
    "model": {"norm": "batch", "dropout": 0.3},
    "loss": {"l1": 1e-4, "l2": 1e-3},
    "strategy": {"accumulate": 2, "clip_norm": 0.1, "clip_value": 0.02},
    "data": {"augment": [{"kind": "noise", "std": 0.1}]},
}


def test_a_worker_computes_the_gradient_that_the_runs_process_would(tmp_path: Path) -> None:
    run, setup, state = prepare(tmp_path, SETTINGS)
    for value in setup.parameters.values:
        value += 0.01 * torch.randn_like(value)  # not what a worker begins with
    values, buffers = arrays_of(setup.parameters.values), arrays_of(buffers_of(state.model))
    sent = [array.copy() for array in values], [array.copy() for array in buffers]
    network = {name: tensor.numpy().copy() for name, tensor in state.model.state_dict().items()}
    draws = Draws({name: one.copy() for name, one in (draws_now(state.device).generators or {}).items()})

    from nnopt.data.batches import Position

    setup.backward.begin(setup.feed.take(Position(1, 128), 64), norm_wanted=True)
    setup.backward()
    after = draws_now(state.device)

    worker = GradientWorker(run, network, 1, Surroundings.here())
    answer = worker.gradient(*sent, Batch(1, 128, 64), draws)
    assert setup.backward.loss is not None
    assert setup.backward.gradient_norm is not None
    assert answer.loss == float(setup.backward.loss)
    assert answer.norm == float(setup.backward.gradient_norm)
    for array, gradient in zip(answer.gradients, setup.parameters.gradients, strict=True):
        assert np.array_equal(array, gradient.numpy())
        assert np.abs(array).max() > 0
    for array, buffer, before in zip(answer.buffers, buffers_of(state.model), sent[1], strict=True):
        assert np.array_equal(array, buffer.numpy())
        assert not np.array_equal(array, before)
    assert np.array_equal(answer.draws.generators["cpu"], after.generators["cpu"])  # type: ignore[index]
    assert not np.array_equal(answer.draws.generators["cpu"], draws.generators["cpu"])  # type: ignore[index]


def test_a_batch_with_a_seed_of_its_own_is_the_same_whoever_takes_it(tmp_path: Path) -> None:
    run, setup, state = prepare(tmp_path, SETTINGS)
    network = {name: tensor.numpy().copy() for name, tensor in state.model.state_dict().items()}
    sent = arrays_of(setup.parameters.values), [array.copy() for array in arrays_of(buffers_of(state.model))]
    one, other = (GradientWorker(run, network, 1, Surroundings.here()) for _ in range(2))
    other.gradient(*sent, Batch(0, 0, 64), Draws(seed=1))
    left, right, third = (
        worker.gradient(*sent, Batch(0, 64, 64), Draws(seed=seed)).gradients[0].copy()
        for worker, seed in ((one, 5), (other, 5), (other, 6))
    )
    assert np.array_equal(left, right)
    assert not np.array_equal(left, third)


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"optimizer": {"kind": "lbfgs", "lr": 1.0}}, "optimizer.kind", "searches along a line"),
        ({"structure": {"quantise": {"kind": "int8_dynamic"}}}, "structure", "changes on the way"),
        ({"strategy": {"precision": "fp16"}}, "strategy.precision", "use bf16 or fp32"),
        ({"parallel": {"workers": 0}}, "parallel.workers", "greater than 0"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(
    cli: Callable[..., Ended], tmp_path: Path, settings: dict[str, Any], key: str, words: str
) -> None:
    ended = cli("train", write_digits(tmp_path, merge(server(), settings)), code=2)
    assert len(ended.errors) == 1
    assert f"{key}:" in ended.errors[0]
    assert words in ended.errors[0]


def test_a_missing_extra_is_named_before_training(
    cli: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else find(name, *rest))
    ended = cli("train", write_digits(tmp_path, server()), code=2)
    assert len(ended.errors) == 1
    assert "pip install 'nnopt[ray]'" in ended.errors[0]
    assert not list(tmp_path.glob("runs/*/*/*"))


@pytest.mark.slow
def test_an_address_where_nobody_answers_is_told(program: Callable[..., Ended], tmp_path: Path) -> None:
    program("train", write_digits(tmp_path, server()), code=1, RAY_ADDRESS="127.0.0.1:1")
    summary = summary_of(tmp_path / "runs/small/sgd/seed-0")
    assert summary["status"] == "failed"
    assert summary["reason"].startswith("no Ray cluster answers at 127.0.0.1:1 (RAY_ADDRESS): ")


# Pairs of variants of which the second is the first with a server at staleness 0.
PAIRS: dict[str, dict[str, Any]] = {
    "adam": {
        "optimizer": {"kind": "adam", "lr": 0.01},
        "model": {"norm": "batch", "dropout": 0.3},
        "strategy": {"average": {"kind": "ema", "decay": 0.9}, "lr_decay": {"kind": "cosine"}},
        "evaluation": {"at_start": True},
        "checkpoint": {"every": {"steps": 7}},
    },
    "momentum": {
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
        "strategy": {
            "batch_size": {"start": 30, "factor": 2, "at": [0.3, 0.6]},
            "lr_decay": {"kind": "plateau", "patience": 1, "factor": 0.5},
            "clip_norm": 0.5,
        },
    },
    "way": {
        "data": {"kind": "function", "function": {"kind": "beale"}},
        "model": {"kind": "point", "start": [0.5, 1.5]},
        "loss": {"kind": "objective"},
        "strategy": {"batch_size": 1},
        "optimizer": {"lr": 0.01},
        "budget": {"epochs": 25},
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, starter: Starter) -> Path:
    """An experiment with each pair, and with servers whose gradients may be old; its folder."""
    folder = tmp_path_factory.mktemp("server")
    variants = {
        **PAIRS,
        **{f"{name}-0": merge(settings, server(staleness=0)) for name, settings in PAIRS.items()},
        "old": merge(PAIRS["adam"], merge(server(3, 2), {"budget": {"epochs": 6}})),
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({**DIGITS, "variants": variants}, sort_keys=False))
    done = starter.run(folder, "train", path, "--quiet")
    assert "ray" not in done.stderr.lower()
    assert "raylet" not in done.stdout
    return folder / "runs/small"


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_at_staleness_0_it_trains_as_one_process_to_the_bit(trained: Path, name: str) -> None:
    ever, other = trained / name / "seed-0", trained / f"{name}-0" / "seed-0"
    for file in ("metrics.csv", "steps.csv", *(["trajectory.csv"] if name == "way" else [])):
        rows = [{key: cell for key, cell in row.items() if key not in TRAFFIC} for row in rows_of(other / file)]
        assert rows == rows_of(ever / file)
    ours, theirs = state_of(ever), state_of(other)
    for key in ("model", "optimizer", "position", "generators"):
        assert torch.equal(*map(flat, (ours[key], theirs[key])))
    assert summary_of(other)["test"] == summary_of(ever)["test"]
    assert summary_of(other)["bits_promised"] is True
    assert summary_of(other)["staleness_max"] == 0


def flat(value: Any) -> torch.Tensor:
    """All numbers in nested values, one after the other."""
    if isinstance(value, torch.Tensor):
        return value.reshape(-1).double()
    if isinstance(value, dict | list):
        parts = [flat(item) for item in (value.values() if isinstance(value, dict) else value)]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)
    return torch.tensor([float(value)], dtype=torch.float64)


@pytest.mark.slow
def test_old_gradients_train_within_their_bound_and_are_counted(trained: Path) -> None:
    folder = trained / "old/seed-0"
    summary = summary_of(folder)
    rows = pandas.read_csv(folder / "metrics.csv").query("step > 0")
    assert summary["steps"] == 120
    assert summary["samples"] == 6 * 1222
    assert rows["staleness_max"].max() <= 2
    assert 0 < summary["staleness_mean"] <= 2
    assert summary["staleness_mean"] == pytest.approx(rows["staleness_mean"].mean())
    assert (rows["updates_per_second"] > 0).all()
    assert summary["metrics"]["val_accuracy"]["best"] > 0.8
    assert (summary["bits_promised"], summary["bits_reason"]) == (False, "workers answer in no fixed order")
    engine = checkpoint.load(folder / "checkpoints/last.pt")["engine"]
    assert engine["in_flight"] == []  # the budget was not overdrawn


@pytest.mark.slow
def test_compare_sets_old_gradients_against_fresh_ones(trained: Path, cli: Callable[..., Ended]) -> None:
    folders = [trained / name for name in ("adam", "adam-0", "old")]
    shown = cli("compare", *folders, "--metric", "staleness_mean", "--json", COLUMNS="200").stdout
    assert '"parallel": "parameter_server"' in shown
    table = cli("compare", *folders, "--metric", "updates_per_second", COLUMNS="250").stdout
    assert "updates/s" in table
    assert "staleness" in table


def worker_processes(top: int) -> list[psutil.Process]:
    """The actors' processes below one."""
    children = psutil.Process(top).children(recursive=True)
    return [child for child in children if child.name().startswith("ray::Gradient")]


@pytest.mark.slow
def test_a_lost_worker_is_replaced_and_a_stopped_run_goes_on(tmp_path: Path, starter: Starter) -> None:
    spec = write_digits(tmp_path, merge(server(2, 1), {"budget": {"epochs": 40}, "logging": {"every": 1}}))
    process = starter.start(tmp_path, "train", spec)
    folder = tmp_path / "runs/small/sgd/seed-0"
    wait_for(lambda: (folder / "checkpoints/last.pt").exists())
    worker_processes(process.pid)[0].kill()
    wait_for(lambda: "was lost at step" in (folder / "run.log").read_text())
    lost = len(rows_of(folder / "steps.csv"))
    wait_for(lambda: len(rows_of(folder / "steps.csv")) > lost + 50)
    process.send(signal.SIGTERM)
    assert process.wait() == 143, process.stderr
    assert "raylet" not in process.stdout + process.stderr
    stopped = summary_of(folder)["steps"]
    assert 0 < stopped < 800
    content = checkpoint.load(folder / "checkpoints/last.pt")
    assert 0 < len(content["engine"]["in_flight"]) <= 2
    position = content["state"]["position"]
    taken = position["epoch"] * 1222 + position["offset"]
    under_way = sum(min(one["size"], 1222 - one["offset"]) for one in content["engine"]["in_flight"])
    assert content["state"]["progress"]["samples"] == taken - under_way  # nothing is lost, nothing counted twice

    starter.run(tmp_path, "train", spec)
    summary = summary_of(folder)
    assert (summary["status"], summary["steps"], summary["samples"]) == ("done", 800, 40 * 1222)
    assert summary["staleness_max"] <= 1
    assert [int(row["step"]) for row in rows_of(folder / "steps.csv")] == list(range(1, 801))
