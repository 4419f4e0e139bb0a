"""The objective as a function of the weights: what the pass computes, and no trace of having been asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from running import open_session
from torch import Tensor

from nnopt.train.setup import Setup
from nnopt.train.state import TrainState, generator_states

FLAT, SEPARATE = {"kind": "sgd", "lr": 0.1}, {"kind": "adamw", "lr": 0.1}
GROUPED = {**FLAT, "groups": [{"parameters": ["*bias"], "lr": 0.5}]}
NETWORKS: dict[str, dict[str, Any]] = {
    "dropout": {"model": {"hidden": [12, 8], "dropout": 0.4}},
    "batch norm": {"model": {"hidden": [12], "norm": "batch"}},
    "penalties": {"loss": {"l1": 0.01, "l2": 0.1}},
    "bf16": {"strategy": {"precision": "bf16"}},
    "transformer": {
        "data": {"kind": "text", "path": "letters.txt", "context": 8},
        "model": {"kind": "transformer", "width": 8, "layers": 1, "heads": 2, "tied": True},
        "loss": {"kind": "cross_entropy"},
    },
    "lstm": {
        "data": {"kind": "text", "path": "letters.txt", "context": 8},
        "model": {"kind": "lstm", "width": 8, "layers": 1},
        "loss": {"kind": "cross_entropy"},
    },
}


def ready(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[Setup, TrainState]:
    """A run that has made its first pass, with the generators' states noted as for an optimizer that asks."""
    (folder / "letters.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    monkeypatch.chdir(folder)
    session = open_session(folder, changes)
    setup = session.setup
    setup.backward.curvature_needed = True
    setup.backward.begin(setup.feed.take(session.state.position, 32), norm_wanted=False)
    return setup, session.state


def slope(setup: Setup) -> tuple[Tensor, tuple[Tensor, ...]]:
    smooth = setup.backward.smooth()
    values = [value.detach().clone().requires_grad_() for value in setup.parameters.values]
    objective = smooth(values)
    return objective.detach(), torch.autograd.grad(objective, values)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", [FLAT, SEPARATE, GROUPED], ids=["flat", "separate", "grouped"])
def test_it_is_what_the_pass_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, optimizer: dict[str, Any]
) -> None:
    setup, state = ready(tmp_path, monkeypatch, optimizer=optimizer, **NETWORKS[name])
    setup.backward.objective_needed = True
    objective = setup.backward()
    buffers = [buffer.clone() for buffer in state.model.buffers()]
    generators = generator_states(setup.device)
    evaluations = setup.backward.evaluations
    again, gradients = slope(setup)
    wide = {"rtol": 0.1, "atol": 0.02} if name == "bf16" else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(again, objective, **wide)
    for found, expected in zip(gradients, setup.parameters.gradients, strict=True):
        torch.testing.assert_close(found, expected, **wide)
    assert again.dtype == torch.float32, "whatever the precision of training"

    repeated, _ = slope(setup)
    assert torch.equal(repeated, again), "dropout draws what it drew"
    for buffer, before in zip(state.model.buffers(), buffers, strict=True):
        assert torch.equal(buffer, before)
    for key, generator in generator_states(setup.device).items():
        assert torch.equal(generator, generators[key])
    assert setup.backward.evaluations == evaluations, "what is asked of it is counted by who asks"


@pytest.mark.parametrize("name", ["dropout", "batch norm", "transformer", "lstm"])
def test_its_hessian_is_that_of_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    setup, state = ready(tmp_path, monkeypatch, optimizer=FLAT, **NETWORKS[name])
    state.model.double()
    batch = setup.backward.batch
    assert batch is not None
    if batch.inputs.is_floating_point():
        setup.backward.batch = replace(batch, inputs=batch.inputs.double())
    smooth = setup.backward.smooth()
    (value,) = [value.detach().double() for value in setup.parameters.values]
    way = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradient = torch.func.grad(lambda at: smooth([at]))
    _, pullback = torch.func.vjp(gradient, value)
    (product,) = pullback(way)
    step = 1e-5
    differences = (gradient(value + step * way) - gradient(value - step * way)) / (2 * step)
    near = (product - differences).abs() < 1e-4 * product.abs().max()
    assert near.double().mean() > 0.99, "but where a relu has its corner within the step"


def test_what_is_drawn_follows_from_the_seed_and_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, _ = ready(tmp_path, monkeypatch)

    def drawn() -> Tensor:
        return torch.rand(3, generator=setup.backward.generator())

    first = drawn()
    assert torch.equal(drawn(), first)
    setup.backward.count(2)
    assert not torch.equal(drawn(), first)
    setup.backward.evaluations -= 2
    assert torch.equal(drawn(), first)
