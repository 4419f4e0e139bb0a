"""How each layer does: the numbers against a slow twin, and the word where gradients vanish, explode, or units die."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F
from command_line import Ended
from running import StopAfter, Told, fit, fit_one, rows_of, state_of
from torch import nn

from nnopt.errors import Interrupted
from nnopt.models.connections import Residual
from nnopt.structure.diagnosis import LayerState, dying, examine, exploding, vanishing

pytestmark = pytest.mark.usefixtures("undrawn")

COLUMNS = [
    *("step", "layer", "gradient_norm", "gradient_rms", "weight_norm"),
    *("activation_mean", "activation_std", "dead_units", "saturated"),
]
DEEP = {"model": {"hidden": {"width": 30, "depth": 10}, "activation": "sigmoid"}}
LARGE_RATE = {"optimizer": {"lr": 300.0}}


def seen(model: nn.Module, inputs: torch.Tensor) -> dict[str, LayerState]:
    """The layers of `model` by name."""
    return {state.layer: state for state in examine(model, inputs, contextlib.nullcontext)}


def test_numbers_of_a_layer_are_its_slow_twin() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].bias[:2] = -100.0  # never answer
        model[2].weight *= 20
        model[2].bias[0] = 900.0  # always at its end
    inputs = torch.randn(50, 3)
    F.cross_entropy(model(inputs), torch.arange(50) % 2).backward()
    layers = seen(model, inputs)
    assert list(layers) == ["0", "2", "4"]
    a = inputs.numpy()
    functions = {"0": lambda z: np.maximum(z, 0), "2": np.tanh, "4": lambda z: z}
    for name, function in functions.items():
        layer = model.get_submodule(name)
        a = function(a @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        state, gradient = layers[name], layer.weight.grad.numpy().ravel()
        assert state.gradient_norm == pytest.approx(np.sqrt((gradient**2).sum()), rel=1e-5)
        assert state.gradient_rms == pytest.approx(np.sqrt((gradient**2).mean()), rel=1e-5)
        assert state.weight_norm == pytest.approx(np.linalg.norm(layer.weight.detach().numpy()), rel=1e-5)
        assert state.activation_mean == pytest.approx(a.mean(), abs=1e-4)
        assert state.activation_std == pytest.approx(a.std(), rel=1e-4)
        if name == "0":
            assert state.dead_units == pytest.approx(np.mean([(a[:, unit] == 0).all() for unit in range(5)]))
            assert state.dead_units >= 0.4
            assert state.saturated is None
        elif name == "2":
            flat = np.abs(a) > 0.99
            assert state.saturated == pytest.approx(flat.mean())
            assert state.dead_units == pytest.approx(np.mean([flat[:, unit].all() for unit in range(4)]))
            assert state.dead_units >= 0.25
        else:
            assert state.dead_units is state.saturated is None
    assert model.training


def test_channels_are_the_units_of_a_convolution_and_a_sum_has_its_last_layer() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
    model = nn.Sequential(Residual(inner, nn.Conv2d(2, 4, 1), nn.ReLU()), nn.Flatten(), nn.Sigmoid())
    images = torch.randn(6, 2, 3, 3)
    with torch.no_grad():
        inner[1].bias[1] = -100.0
    layers = seen(model, images)
    outputs = model.eval()(images).detach()
    # The shortcut comes first, so that the sum is told of the inner layer, and the sigmoid is the last to see it.
    assert layers["0.inner.0"].activation_mean == pytest.approx(float(outputs.mean()), rel=1e-5)
    del model[2]
    assert seen(model, images)["0.inner.0"].dead_units == 0.25
    assert layers["0.shortcut"].dead_units is None
    assert layers["0.shortcut"].gradient_norm is None


def layer(name: str, rms: float | None, dead: float | None = None) -> LayerState:
    """A layer of which little is known."""
    return LayerState(name, rms, rms, 1.0, 0.0, 1.0, dead, None)


def test_what_is_worth_a_word() -> None:
    text = vanishing([layer("1", 9e-7), layer("3", 1e-3), layer("5", 1e-2)])
    assert text is not None
    assert text.startswith("gradients vanish: rms 9.0e-07 at layer 1, 1.0e-02 at layer 5; ")
    assert vanishing([layer("1", 2e-6), layer("5", 1e-2)]) is None
    assert vanishing([layer("1", 1e-9)]) is None
    assert vanishing([layer("1", None), layer("5", None)]) is None
    assert vanishing([layer("1", 0.0), layer("5", 0.0)]) is None

    model = nn.Sequential(nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU())
    text = dying(model, [layer("0", 1.0, 0.2), layer("2", 1.0, 0.6)])
    assert text is not None
    assert "60 % of those of layer 2" in text
    assert dying(model, [layer("0", 1.0, 0.5), layer("2", 1.0, None)]) is None
    with torch.no_grad():
        model[2].weight[:5] = 0.0
    assert dying(model, [layer("2", 1.0, 0.7)]) is None, "half of the units were removed: 0.2 of the other 0.5 died"
    assert dying(model, [layer("2", 1.0, 0.8)]) is not None

    assert exploding("the loss", 2.0, 1999.0) is None
    assert exploding("the loss", 2.0, 2001.0) is not None
    assert exploding("the loss", 0.0, 2001.0) is None


def test_a_row_an_evaluation_and_layer(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"evaluation": {"at_start": True}, "model": {"hidden": [16, 8]}})
    table = pandas.read_csv(record.folder / "layers.csv")
    assert list(table.columns) == COLUMNS
    assert table.step.tolist() == [0, 0, 0, 20, 20, 20, 40, 40, 40]
    assert table.layer.tolist() == [1, 3, 5] * 3
    assert table.gradient_norm.isna().tolist() == [True] * 3 + [False] * 6
    logged = {int(row["step"]): float(row["grad_norm"]) for row in rows_of(record.folder / "steps.csv")}
    for step in (20, 40):
        squares = (table[table.step == step].gradient_norm ** 2).sum()
        assert 0.2 * logged[step] ** 2 < squares < logged[step] ** 2, "the rest is that of the biases"
    assert table.dead_units[table.layer == 5].isna().all()
    assert table.dead_units[table.layer != 5].between(0, 1).all()
    assert record.summary["diagnosis"] == []


def test_watching_changes_no_number_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "off").mkdir()
    model = {"dropout": 0.3, "norm": "batch"}
    on = fit_one(tmp_path, {"model": model})
    off = fit_one(tmp_path / "off", {"model": model, "logging": {"layers": False}})
    assert not (off.folder / "layers.csv").exists()
    assert on.spec_hash == off.spec_hash
    one, other = (state_of(record.folder)["model"] for record in (on, off))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_gone_on_the_table_and_what_was_said_are_the_same(tmp_path: Path) -> None:
    changes = {**DEEP, "evaluation": {"every": {"steps": 6}}}
    whole = fit_one(tmp_path, changes)
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(Interrupted):
        fit(again, changes, StopAfter(2))
    told = Told()
    record = fit_one(again, changes, told)
    assert rows_of(record.folder / "layers.csv") == rows_of(whole.folder / "layers.csv")
    assert record.summary["diagnosis"] == whole.summary["diagnosis"] != []
    assert not [words for words in told.words if words[0] == "note"], "it was said before the stop"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (DEEP, ["gradients vanish: rms"]),
        (LARGE_RATE, ["units die: ", "gradients explode: the loss grew from"]),
        ({"optimizer": {"lr": 5.0}, "model": {"hidden": [64, 64]}, "strategy": {"clip_norm": 5.0}}, ["units die: "]),
        ({"model": {"hidden": {"width": 30, "depth": 10}, "norm": "batch", "connections": "residual"}}, []),
    ],
)
def test_alarms_on_real_digits(
    changes: dict[str, Any],
    wanted: list[str],
    cli: Callable[..., Ended],
    write_spec: Callable[..., Path],
    runs: Path,
) -> None:
    ended = cli("train", write_spec({**changes, "budget": {"epochs": 5}}))
    (path,) = runs.glob("small/*/seed-0/summary.json")
    found = json.loads(path.read_text())["diagnosis"]
    shown = " ".join(cli("show", path.parent).stdout.split())
    log = path.with_name("run.log").read_text()
    assert len(found) == len(wanted)
    for text, start in zip(found, wanted, strict=True):
        assert text.startswith("step 20: " + start)
        assert text in shown
        assert text in log
        assert ended.stderr.count(text) == 1
    assert bool(wanted) == ("diagnosis" in shown)


def test_a_run_that_diverges_before_it_is_evaluated_says_that_it_exploded(tmp_path: Path) -> None:
    regression = {"data": {"kind": "diabetes"}, "loss": {"kind": "mse"}, "optimizer": {"lr": 100.0}}
    (record,) = fit(tmp_path, {**regression, "budget": {"steps": 200}, "evaluation": {"every": {"steps": 100}}})
    assert record.status == "diverged"
    (text,) = record.summary["diagnosis"]
    assert "gradients explode: the loss grew from" in text
