"""Averaged weights against a slow twin that keeps every set of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from running import STEPS_AN_EPOCH, fit_one, open_session, rows_of, state_of, weights_of
from torch import Tensor

from nnopt.train import loop
from nnopt.train.evaluation import evaluate
from nnopt.train.session import Session

MODEL = {"norm": "batch", "hidden": [12]}
Weights = dict[str, Tensor]


def floating(session: Session) -> Weights:
    """Weights and floating-point buffers, copied."""
    state = session.state.model.state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if tensor.is_floating_point()}


def train_keeping_all(folder: Path, strategy: dict[str, Any], **changes: Any) -> tuple[Session, list[Weights]]:
    """Trains, and keeps the weights before the first and after every step."""
    session = open_session(folder, {"strategy": strategy, "model": MODEL} | changes)
    kept = [floating(session)]
    average = session.state.average
    assert average is not None
    update = average.update

    def keeping(*args: Any) -> None:
        kept.append(floating(session))
        update(*args)

    average.update = keeping  # type: ignore[method-assign]
    loop.train(session)
    return session, kept


def averaged(session: Session) -> Weights:
    """The average by name."""
    assert session.state.average is not None
    with session.state.average.in_place():
        return floating(session)


def assert_close(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name].double(), expected[name].double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("optimizer", [{"kind": "sgd", "lr": 0.1}, {"kind": "nadam", "lr": 0.01}])
def test_ema_follows_its_formula(tmp_path: Path, decay: float, optimizer: dict[str, Any]) -> None:
    session, kept = train_keeping_all(tmp_path, {"average": {"kind": "ema", "decay": decay}}, optimizer=optimizer)
    expected = {name: tensor.double() for name, tensor in kept[0].items()}
    for weights in kept[1:]:
        expected = {name: decay * expected[name] + (1 - decay) * weights[name].double() for name in expected}
    assert len(kept) == 2 * STEPS_AN_EPOCH + 1
    assert_close(averaged(session), expected)


@pytest.mark.parametrize(
    ("start", "every", "points"),
    [
        (0.5, {"steps": 6}, [24, 30, 36]),  # the update that leads to step n began at share (n - 1) / 40
        (0.0, {"epochs": 1}, [20, 40]),
        (0.75, {"epochs": 0.25}, [35, 40]),
        (0.9, {"steps": 1}, [37, 38, 39, 40]),
    ],
)
def test_swa_is_the_plain_mean_of_its_points(
    tmp_path: Path, start: float, every: dict[str, float], points: list[int]
) -> None:
    session, kept = train_keeping_all(tmp_path, {"average": {"kind": "swa", "start": start, "every": every}})
    mean = {name: torch.stack([kept[step][name].double() for step in points]).mean(0) for name in kept[0]}
    assert session.state.average.state_dict()["count"] == len(points)  # type: ignore[union-attr]
    assert_close(averaged(session), mean)


def test_evaluations_use_the_average_and_training_does_not(tmp_path: Path) -> None:
    strategy = {"average": {"kind": "ema", "decay": 0.95}}
    session, kept = train_keeping_all(tmp_path, strategy)
    row = session.state.progress.last_row
    assert row is not None
    assert torch.equal(floating(session)["1.weight"], kept[-1]["1.weight"]), "the model is itself again"

    def loss_now() -> float:
        setup = session.setup
        part = setup.data.validation
        result = evaluate(setup.forward, part, setup.data, setup.loss, ["loss"], 100, setup.autocast)
        return result.values["loss"]

    plain = loss_now()
    assert session.state.average is not None
    with session.state.average.in_place():
        assert row["val_loss"] == pytest.approx(loss_now(), rel=1e-6)
    assert row["val_loss"] != pytest.approx(plain, rel=1e-3)

    (tmp_path / "plain").mkdir()
    without = open_session(tmp_path / "plain", {"model": MODEL})
    loop.train(without)
    assert torch.equal(floating(without)["1.weight"], kept[-1]["1.weight"]), "averaging changes no step"


def test_before_its_first_point_swa_is_evaluated_on_the_plain_weights(tmp_path: Path) -> None:
    swa = {"average": {"kind": "swa", "start": 0.6}}
    (tmp_path / "plain").mkdir()
    with_swa, plain = fit_one(tmp_path, {"strategy": swa}), fit_one(tmp_path / "plain")
    first, second = (rows_of(record.folder / "metrics.csv") for record in (with_swa, plain))
    assert first[0] == second[0]


def test_the_best_weights_are_averaged_ones_and_are_tested_as_they_are(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"strategy": {"average": {"kind": "ema", "decay": 0.9}}, "model": MODEL})
    best, last = weights_of(record.folder, "best.pt"), weights_of(record.folder)
    average = state_of(record.folder)["average"]["values"]
    assert not torch.equal(best["1.weight"], last["1.weight"])
    assert record.summary["metrics"]["val_accuracy"]["best_step"] == 40, "so best and last are one"
    assert sum(tensor.numel() for tensor in average) == sum(t.numel() for t in best.values() if t.is_floating_point())
    assert record.summary["test"]["best"]["loss"] == record.summary["test"]["last"]["loss"]
