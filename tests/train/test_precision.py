"""Arithmetic of fewer bits: bf16, and fp16 with its loss scaling against torch's own GradScaler."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from running import assert_equal, fit, fit_one, open_session, rows_of, weights_of
from torch import Tensor

from nnopt.train import loop, scaling
from nnopt.train.scaling import LossScaler

CPU = torch.device("cpu")


# -------------------------------------------------------------------------------------------- the scaler


@pytest.mark.parametrize("interval", [1, 3, 2000])
def test_the_scale_follows_grad_scaler_through_overflows(monkeypatch: pytest.MonkeyPatch, interval: int) -> None:
    monkeypatch.setattr(scaling, "INTERVAL", interval)
    torchs = torch.amp.GradScaler("cpu", growth_interval=interval)
    ours = LossScaler(CPU)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    draw = random.Random(interval)
    for _ in range(60):
        bad = draw.choice([None, None, None, None, float("inf"), float("nan"), -float("inf")])
        gradient = torch.tensor([1.0, -2.0, 0.5])
        if bad is not None:
            gradient[draw.randrange(3)] = bad
        scaled = gradient * ours.scale
        assert float(torchs.scale(torch.ones(()))) == float(ours.scale)

        weight.grad = scaled.clone()
        before = weight.detach().clone()
        torchs.step(optimizer)
        torchs.update()

        unscaled = [scaled.clone()]
        ours.unscale(unscaled)
        assert bool(ours.finite()) == (bad is None) == (not torch.equal(weight.detach(), before))
        if bad is None:
            torch.testing.assert_close(unscaled[0], gradient)
        ours.update()
    assert torchs.get_scale() == float(ours.scale)


def test_one_bad_entry_in_one_of_many_tensors_is_noticed() -> None:
    scaler = LossScaler(CPU)
    gradients = [torch.ones(4), torch.ones(2, 2), torch.ones(())]
    scaler.unscale(gradients)
    assert bool(scaler.finite())
    gradients[1][1, 1] = float("nan")
    scaler.unscale(gradients)
    assert not bool(scaler.finite())


def test_the_scale_never_grows_beyond_what_a_float_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "INTERVAL", 1)
    scaler = LossScaler(CPU)
    for _ in range(200):
        scaler.update()
    assert torch.isfinite(scaler.scale)
    assert float(scaler.scale) == 2.0**127


# -------------------------------------------------------------------------------------------- whole runs


@pytest.fixture
def fp16_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnopt.train.setup.check_precision", lambda precision, device: None)


def test_fp16_needs_an_accelerator(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="fp16 needs an accelerator"):
        fit(tmp_path, {"strategy": {"precision": "fp16"}})


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("optimizer", [{"kind": "adam", "lr": 0.01}, {"kind": "adamw", "lr": 0.01}])
@pytest.mark.usefixtures("fp16_on_the_cpu")
def test_fewer_bits_train_about_as_well(tmp_path: Path, precision: str, optimizer: dict[str, Any]) -> None:
    changes = {"optimizer": optimizer, "budget": {"epochs": 3}}
    (tmp_path / "few").mkdir()
    full = fit_one(tmp_path, changes)
    few = fit_one(tmp_path / "few", changes | {"strategy": {"precision": precision}})
    losses = [record.summary["metrics"]["val_loss"]["last"] for record in (full, few)]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[0] < 1.0
    assert all(tensor.dtype == torch.float32 for tensor in weights_of(few.folder).values()), "weights stay fp32"
    assert rows_of(few.folder / "steps.csv") != rows_of(full.folder / "steps.csv")


def test_bf16_forward_passes_are_in_bf16(tmp_path: Path) -> None:
    session = open_session(tmp_path, {"strategy": {"precision": "bf16"}, "budget": {"steps": 1}})
    seen: list[torch.dtype] = []
    session.state.model.register_forward_hook(lambda _model, _inputs, output: seen.append(output.dtype))
    loop.train(session)
    assert set(seen) == {torch.bfloat16}
    assert len(seen) == 2, "in training and in evaluation"


def scaler_of(session: loop.Session) -> LossScaler:
    assert session.state.scaler is not None
    return session.state.scaler


@pytest.mark.parametrize(
    "optimizer",
    [
        {"kind": "adam", "lr": 0.01, "weight_decay": 0.1},
        {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
        {"kind": "rmsprop", "lr": 0.01},
        {"kind": "adamw", "lr": 0.01},
    ],
    ids=lambda keys: keys["kind"],
)
@pytest.mark.usefixtures("fp16_on_the_cpu")
def test_a_step_that_overflows_changes_neither_weights_nor_state(tmp_path: Path, optimizer: dict[str, Any]) -> None:
    strategy = {"precision": "fp16", "clip_norm": 1.0, "clip_value": 0.5}
    session = open_session(tmp_path, {"strategy": strategy, "optimizer": optimizer, "loss": {"l2": 0.1}})
    setup, state = session.setup, session.state
    scaler = scaler_of(session)

    def step() -> tuple[Any, Any]:
        setup.backward.begin(setup.feed.of(torch.arange(64)), norm_wanted=True)
        state.optimizer.step(setup.backward, 0.1, scaler.finite)
        scaler.update()
        return clone(state.model.state_dict()), clone(state.optimizer.state_dict())

    first = step()
    scaler.scale.fill_(2.0**120)  # far beyond what a half can hold: the gradients overflow
    second = step()
    assert_equal(first, second)
    assert float(scaler.scale) == 2.0**119
    scaler.scale.fill_(2.0**10)
    third = step()
    assert any(not torch.equal(second[0][name], third[0][name]) for name in third[0])
    assert all(torch.isfinite(tensor).all() for tensor in third[0].values())


def clone(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    return [clone(item) for item in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("fp16_on_the_cpu")
def test_a_whole_run_survives_overflows_and_logs_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "FIRST_SCALE", 2.0**40)
    record = fit_one(tmp_path, {"strategy": {"precision": "fp16"}, "optimizer": {"lr": 0.5}, "budget": {"epochs": 6}})
    rows = rows_of(record.folder / "steps.csv")
    skipped = [row for row in rows if row["grad_norm"] == ""]
    assert 3 < len(skipped) < 40, "the scale halves until the gradients fit"
    assert skipped[:3] == rows[:3]
    losses = [float(row["loss"]) for row in rows]
    assert losses[-1] < 0.7 * losses[0]
    assert all(float(row["grad_norm"]) > 0 for row in rows if row not in skipped)
    assert all(row["grad_norm"] not in ("inf", "nan") for row in rows_of(record.folder / "metrics.csv"))
