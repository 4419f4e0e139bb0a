"""Several processes that take every update together compute what one does: ddp, fsdp, local SGD with a period of 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from running import Starter, summary_of, weights_of, write_digits

from nnopt.train import checkpoint

STEPS = 200
# Float sums in another order, over 200 updates of a network that learns: far below what a seed changes.
TOLERANCE = 2e-4
NORMED = {"kind": "cnn", "blocks": [{"channels": 4, "norm": "batch", "pool": "max"}], "hidden": [16]}
BASE: dict[str, Any] = {
    "model": NORMED,
    "optimizer": {"kind": "momentum", "lr": 0.02},
    "loss": {"kind": "cross_entropy", "l2": 1e-3},
    "strategy": {"batch_size": 50, "threads": 1, "clip_norm": 1.0},  # the last batch of an epoch has 22 samples
    "budget": {"steps": STEPS},
    "evaluation": {"every": {"steps": 100}},
    "logging": {"every": 1},
    "seeds": 1,
    "device": "cpu",
}


def parallel(kind: str, processes: int = 2, **keys: Any) -> dict[str, Any]:
    return {"parallel": {"kind": kind, "processes": processes, **keys}}


PLAIN = {
    "model": {"kind": "mlp", "hidden": [16]},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "strategy": {"clip_norm": None},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, starter: Starter) -> Path:
    """The experiment's folder: each alternative trained through the command line."""
    folder = tmp_path_factory.mktemp("in_step")
    variants = {
        "one": {},
        "ddp": parallel("ddp"),
        "fsdp": parallel("fsdp"),
    }
    write_digits(folder, {**BASE, "variants": variants})
    starter.run(folder, "train", "spec.yaml", "--quiet")
    return folder / "runs" / "small"


def steps_of(folder: Path) -> pandas.DataFrame:
    return pandas.read_csv(folder / "seed-0" / "steps.csv")


def checkpoint_of(folder: Path) -> dict[str, Any]:
    return checkpoint.load(folder / "seed-0" / checkpoint.FOLDER / checkpoint.LAST)


def assert_same_training(one: Path, other: Path, tolerance: float = TOLERANCE) -> None:
    """Every update has the same loss and gradient, within float error."""
    a, b = steps_of(one), steps_of(other)
    assert list(a.step) == list(b.step) == list(range(1, len(a) + 1))
    assert (a.loss - b.loss).abs().max() < tolerance
    assert ((a.grad_norm - b.grad_norm).abs() / a.grad_norm.clip(lower=1)).max() < 10 * tolerance


@pytest.mark.parametrize("variant", ["ddp", "fsdp"])
def test_two_processes_take_the_updates_of_one(trained: Path, variant: str) -> None:
    assert len(steps_of(trained / variant)) == STEPS
    assert_same_training(trained / "one", trained / variant)


@pytest.mark.parametrize("variant", ["ddp", "fsdp"])
def test_what_comes_out_is_the_same_network(trained: Path, variant: str) -> None:
    """Weights, running statistics and what the optimizer remembers are whole in the checkpoint."""
    one, other = (weights_of(trained / name / "seed-0") for name in ("one", variant))
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name].float(), other[name].float(), atol=1e-3), name
    a, b = (summary_of(trained / name / "seed-0") for name in ("one", variant))
    assert a["parameters"] == b["parameters"]
    assert a["multiply_adds"] == b["multiply_adds"]
    assert abs(a["test"]["last"]["loss"] - b["test"]["last"]["loss"]) < 1e-3


def test_each_process_computed_its_share_alone(trained: Path) -> None:
    """The sums differ in their last digits: the same bits would mean that one process did it all."""
    assert not (steps_of(trained / "one").loss == steps_of(trained / "ddp").loss).all()


def test_bits_are_promised_where_processes_are_in_step(trained: Path) -> None:
    assert summary_of(trained / "ddp" / "seed-0")["bits_promised"] is True
    assert len(checkpoint_of(trained / "ddp")["replicas"]) == 2
    rows = pandas.read_csv(trained / "ddp" / "seed-0" / "metrics.csv")
    assert (rows.drift == 0).all()
    assert (rows.staleness_max == 0).all()


@pytest.fixture
def train(tmp_path: Path, starter: Starter) -> Callable[..., Path]:
    """Trains a spec through the command line; the folder of its experiment."""

    def run(changes: dict[str, Any], *args: str, code: int = 0) -> Path:
        write_digits(tmp_path, {**BASE, **changes})
        starter.run(tmp_path, "train", "spec.yaml", "--quiet", *args, code=code)
        return tmp_path / "runs" / "small"

    return run


def test_local_sgd_that_averages_after_every_update_is_sgd(train: Callable[..., Path]) -> None:
    """The mean of θ − ηgₚ over equal shares is θ − ηg; the shares of an epoch's last batch of 22 are equal too."""
    evaluation = {"budget": {"steps": 50}, "evaluation": {"every": {"steps": 25}}}
    variants = {"one": {}, "local": parallel("local_sgd", period=1)}
    found = train({**PLAIN, **evaluation, "strategy": {**BASE["strategy"], "clip_norm": None}, "variants": variants})
    assert (steps_of(found / "one").loss - steps_of(found / "local").loss).abs().max() < TOLERANCE
    rows = pandas.read_csv(found / "local" / "seed-0" / "metrics.csv")
    assert (rows.drift > 0).all()
    assert len(checkpoint_of(found / "local")["replicas"]) == 2


@pytest.mark.slow
def test_four_processes_and_a_batch_that_they_cannot_divide_evenly(train: Callable[..., Path]) -> None:
    found = train({"variants": {"one": {}, "four": parallel("ddp", 4), "shards": parallel("fsdp", 4)}})
    assert_same_training(found / "one", found / "four")
    assert_same_training(found / "one", found / "shards")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"data": {"kind": "digits", "augment": [{"kind": "crop", "padding": 1}, {"kind": "mixup"}]}}, 1e-3),
        # Batch norm takes means over a part, and parts of shares are other samples than parts of the batch.
        ({"model": PLAIN["model"], "strategy": {"batch_size": 50, "threads": 1, "accumulate": 3}}, 1e-3),
        ({"strategy": {"batch_size": 50, "threads": 1, "average": {"kind": "ema"}}}, 1e-3),
        (
            {
                "optimizer": {"kind": "lbfgs", "lr": 0.5},
                "strategy": {"batch_size": "full", "threads": 1},
                "budget": {"steps": 2},
            },
            1e-3,  # each of its steps is twenty of another
        ),
        ({"optimizer": {"kind": "muon", "lr": 0.01}}, 1e-2),
        ({"structure": {"prune": {"kind": "magnitude", "amount": 0.5}}}, 1e-3),
        ({"structure": {"prune": {"kind": "magnitude", "amount": 0.5, "granularity": "channels"}}}, 1e-3),
        ({"budget": {"steps": 30}, "strategy": {"batch_size": "full", "threads": 1}}, 1e-3),
    ],
    ids=["changes", "parts", "average", "lbfgs", "muon", "pruned", "channels", "full batch"],
)
def test_ddp_and_what_else_a_run_may_do(train: Callable[..., Path], changes: dict[str, Any], tolerance: float) -> None:
    evaluation = {"every": {"steps": min(100, changes.get("budget", {}).get("steps", STEPS))}}
    found = train({**changes, "evaluation": evaluation, "variants": {"one": {}, "two": parallel("ddp")}})
    assert_same_training(found / "one", found / "two", tolerance)
    a, b = (pandas.read_csv(found / name / "seed-0" / "metrics.csv") for name in ("one", "two"))
    assert (a.val_loss - b.val_loss).abs().max() < 1e-2


IDLE = '''
"""A network with a layer that has no part in its answers."""
import math
from torch import nn
from nnopt.spec.model_base import ModelSpec


class Idle(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, inputs):
        return self.used(inputs.flatten(1))


class IdleSpec(ModelSpec):
    """Has more than it uses."""

    kind: str

    def build(self, input_shape, outputs):
        return Idle(math.prod(input_shape), outputs)
'''


@pytest.mark.slow
def test_parameters_without_a_gradient_hold_nobody_up(train: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(IDLE)
    budget = {"budget": {"steps": 40}, "evaluation": {"every": {"steps": 20}}, "loss": {"kind": "cross_entropy"}}
    found = train({"model": {"kind": "idle:IdleSpec"}, **budget, "variants": {"one": {}, "two": parallel("ddp")}})
    assert_same_training(found / "one", found / "two")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "adagrad", "rmsprop", "nadam", "adam"])
def test_fsdp_with_optimizers_that_go_entry_by_entry(train: Callable[..., Path], kind: str) -> None:
    changes = {
        "optimizer": {"kind": kind, "lr": 0.001},
        "budget": {"steps": 40},
        "evaluation": {"every": {"steps": 20}},
    }
    found = train({**changes, "variants": {"one": {}, "two": parallel("fsdp")}})
    assert_same_training(found / "one", found / "two", 1e-3)


@pytest.mark.parametrize("base", ["momentum", pytest.param("nadam", marks=pytest.mark.slow)])
def test_fsdp_keeps_the_state_of_lookahead_and_of_its_base_whole(train: Callable[..., Path], base: str) -> None:
    optimizer = {"kind": "lookahead", "base": {"kind": base, "lr": 0.01}}
    common = {"optimizer": optimizer, "evaluation": {"every": {"steps": 6}}}  # 18: three steps after the slow weights
    train({**common, "budget": {"steps": 18}, "variants": {"run": parallel("fsdp", 2)}})
    found = train({**common, "budget": {"steps": 30}, "variants": {"run": parallel("fsdp", 1), "one": {}}})
    assert "resumed at step 18" in (found / "run" / "seed-0" / "run.log").read_text()
    assert_same_training(found / "one", found / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "first", "second"), [("ddp", 2, 3), ("fsdp", 2, 1), ("fsdp", 1, 2), ("ddp", 4, 2)])
def test_a_checkpoint_goes_on_with_another_number_of_processes(
    train: Callable[..., Path], kind: str, first: int, second: int
) -> None:
    budget = {"optimizer": {"kind": "adam", "lr": 0.001}, "evaluation": {"every": {"steps": 20}}}
    train({**budget, "budget": {"steps": 20}, "variants": {"run": parallel(kind, first)}})
    found = train({**budget, "budget": {"steps": 40}, "variants": {"run": parallel(kind, second), "one": {}}})
    assert "resumed at step 20" in (found / "run" / "seed-0" / "run.log").read_text()
    assert_same_training(found / "one", found / "run")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "local_sgd"])
def test_a_resumed_run_ends_with_the_same_bits(train: Callable[..., Path], kind: str, tmp_path: Path) -> None:
    """Also with dropout: each process draws from a generator of its own, which is in the checkpoint."""
    keys = parallel(kind) if kind == "ddp" else parallel(kind, period=7)
    model = {"kind": "mlp", "hidden": [16], "dropout": 0.2}
    spec = {"model": model, "evaluation": {"every": {"steps": 20}}, "variants": {"run": keys}}
    train({**spec, "budget": {"steps": 20}})
    train({**spec, "budget": {"steps": 60}})
    train({**spec, "budget": {"steps": 60}}, "--runs-dir", "unbroken")
    resumed, unbroken = (checkpoint_of(tmp_path / name / "small" / "run") for name in ("runs", "unbroken"))
    for a, b in zip(resumed["replicas"], unbroken["replicas"], strict=True):
        assert torch.equal(a["generators"]["cpu"], b["generators"]["cpu"])
    for name, tensor in resumed["state"]["model"].items():
        assert torch.equal(tensor, unbroken["state"]["model"][name]), name


@pytest.mark.slow
def test_a_budget_of_seconds_ends_for_all_at_once(train: Callable[..., Path]) -> None:
    found = train({"budget": {"seconds": 1.5}, "variants": {"two": parallel("ddp")}})
    summary = summary_of(found / "two" / "seed-0")
    assert summary["status"] == "done"
    assert summary["bits_promised"] is False
    assert len(steps_of(found / "two")) == summary["steps"] > 0
