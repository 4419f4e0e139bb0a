"""Weights that are judged in place of those that train: Schedule-Free's average, batch norm recalibrated to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ended
from running import assert_equal, fit_one, open_session, rows_of, state_of, weights_of, write_digits
from torch import Tensor, nn

from nnopt.optim.optimizer import Optimizer
from nnopt.train import loop
from nnopt.train.recalibration import recalibrate
from nnopt.train.session import Session

KINDS = ["schedule_free_sgd", "schedule_free_adamw"]
NORMED = {"model": {"hidden": [12], "norm": "batch", "dropout": 0.2}}


def changes_of(kind: str, **more: Any) -> dict[str, Any]:
    return {"optimizer": {"kind": kind, "lr": 0.3 if kind.endswith("sgd") else 0.02}, "budget": {"steps": 40}, **more}


def shown(optimizer: Optimizer) -> list[Tensor]:
    found = optimizer.shown()
    assert found is not None
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_how_often_a_run_is_judged_changes_no_bit_of_training(tmp_path: Path, kind: str) -> None:
    for steps in (40, 5):
        (tmp_path / str(steps)).mkdir()
    seldom, often = (
        fit_one(tmp_path / str(steps), changes_of(kind, evaluation={"every": {"steps": steps}}, **NORMED))
        for steps in (40, 5)
    )
    assert_equal(weights_of(seldom.folder), weights_of(often.folder))
    assert_equal(state_of(seldom.folder)["optimizer"], state_of(often.folder)["optimizer"])
    assert (
        rows_of(seldom.folder / "metrics.csv")[-1]["val_loss"] == rows_of(often.folder / "metrics.csv")[-1]["val_loss"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_judged_is_the_average(tmp_path: Path, kind: str) -> None:
    session = open_session(tmp_path, changes_of(kind))
    loop.train(session)
    setup, state = session.setup, session.state
    (train,), (average,) = setup.parameters.values, shown(state.optimizer)
    assert not torch.equal(train, average)
    last = state.progress.last_row
    assert last is not None
    assert judged(session, average) == pytest.approx(float(last["val_loss"] or 0), rel=1e-5)
    assert judged(session, train) != pytest.approx(float(last["val_loss"] or 0), rel=1e-3)


def judged(session: Session, values: Tensor) -> float:
    """The validation loss at `values`, by plain PyTorch."""
    model = session.state.model.eval()
    named = dict(session.setup.parameters.named([values]))
    data = session.setup.data.validation
    inputs, targets = data.gather(None)
    with torch.no_grad():
        outputs = torch.func.functional_call(model, named, (inputs,))
    return float(nn.functional.cross_entropy(outputs, targets))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_and_asked_again_is_what_was_judged(tmp_path: Path, cli: Callable[..., Ended], kind: str) -> None:
    record = fit_one(tmp_path, changes_of(kind, **NORMED))
    rows = rows_of(record.folder / "metrics.csv")
    best = max(rows, key=lambda row: float(row["val_accuracy"]))
    for weights, row in (("last", rows[-1]), ("best", best)):
        told = json.loads(cli("eval", record.folder, "--weights", weights, "--json", "--on", "validation").stdout)
        assert told["loss"] == pytest.approx(float(row["val_loss"]), rel=1e-5)


def test_batch_norm_has_the_statistics_of_the_judged_weights(tmp_path: Path) -> None:
    session = open_session(tmp_path, changes_of("schedule_free_adamw", **NORMED))
    loop.train(session)
    state, inputs = session.state, session.setup.data.train.gather(None)[0]
    before = {name: buffer.clone() for name, buffer in state.model.named_buffers()}
    assert state.average is not None
    with state.average.in_place():
        (norm,) = [one for one in state.model.modules() if isinstance(one, nn.BatchNorm1d)]
        seen: list[Tensor] = []
        handle = norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
        with torch.no_grad():
            state.model(inputs)
        handle.remove()
        assert norm.running_mean is not None
        torch.testing.assert_close(norm.running_mean, seen[0].mean(0), rtol=0.02, atol=0.02)
    for name, buffer in state.model.named_buffers():
        assert torch.equal(buffer, before[name]), "and goes back to those of training"


def test_recalibration_is_the_plain_mean_over_chunks_and_draws_nothing(tmp_path: Path) -> None:
    session = open_session(tmp_path, NORMED)
    setup, model = session.setup, session.state.model
    (norm,) = [one for one in model.modules() if isinstance(one, nn.BatchNorm1d)]
    generator, momentum = torch.get_rng_state(), norm.momentum
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(1.5)
    recalibrate(model, setup.data.train, 500, setup.autocast)
    first = next(module for module in model.modules() if isinstance(module, nn.Linear))
    means = [first(inputs.flatten(1)).mean(0) for inputs, _ in setup.data.train.chunks(500)]
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), generator)
    assert norm.momentum == momentum
    assert model.training


def test_the_last_weights_of_such_a_run_are_no_start(tmp_path: Path, cli: Callable[..., Ended], runs: Path) -> None:
    spec = write_digits(tmp_path, changes_of("schedule_free_adamw", name="first"))
    cli("train", spec)
    start = {"model": {"init_from": {"run": "first", "weights": "last"}}, "name": "second"}
    ended = cli("train", write_digits(tmp_path, start), code=2)
    assert "are an average: take its best ones" in ended.stderr


@pytest.mark.parametrize("kind", ["schedule_free_adamw", "lookahead"])
def test_where_it_begins_is_remembered_after_weights_were_taken(
    tmp_path: Path, cli: Callable[..., Ended], kind: str
) -> None:
    """A memory of the first weights is one of those that were taken, not of those that were drawn before."""
    cli("train", write_digits(tmp_path, {"name": "first", "budget": {"epochs": 3}}))
    optimizer = {"kind": "schedule_free_adamw", "lr": 1e-6}
    if kind == "lookahead":
        optimizer = {"kind": kind, "base": {"kind": "sgd", "lr": 1e-6}, "every": 2}
    cli(
        "train",
        write_digits(
            tmp_path,
            {
                "name": "next",
                "optimizer": optimizer,
                "budget": {"steps": 4},
                "evaluation": {"at_start": True, "every": {"steps": 4}},
                "model": {"init_from": {"run": "first", "weights": "best"}},
            },
        ),
    )
    (folder,) = (tmp_path / "runs" / "next").glob("*/seed-0")
    first, last = rows_of(folder / "metrics.csv")
    assert float(last["val_loss"]) == pytest.approx(float(first["val_loss"]), rel=1e-3)
