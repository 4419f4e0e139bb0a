"""`structure.quantise` through whole runs: what is trained, evaluated, saved, resumed and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ended
from running import StopAfter, assert_same_bits, fit, fit_one, prepare, rows_of, state_of, weights_of

from nnopt.errors import Interrupted, SpecError, UsageError
from nnopt.spec.loading import load
from nnopt.spec.merge import merge
from nnopt.structure.quantise.layers import RoundedLinear
from nnopt.train import checkpoint
from nnopt.train.restoring import restore
from nnopt.train.state import TrainState

pytestmark = pytest.mark.usefixtures("undrawn")

CONVOLUTIONS: dict[str, Any] = {
    "model": {"kind": "cnn", "blocks": [{"channels": 8, "norm": "batch"}], "hidden": [32]},
    "optimizer": {"kind": "adam", "lr": 0.01},
}
KINDS = ["int8_weight_only", "int8_dynamic", "int8_aware"]


def quantised(**keys: Any) -> dict[str, Any]:
    """The change that quantises."""
    return {"structure": {"quantise": keys}}


def restored(tmp_path: Path, changes: dict[str, Any], folder: Path) -> TrainState:
    """The state in a run's last checkpoint."""
    _, setup, state = prepare(tmp_path, changes)
    restore(setup, state, folder, "last")
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_delivers_an_int8_network(
    tmp_path: Path, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, kind: str
) -> None:
    path = write_spec(CONVOLUTIONS | {"variants": {"fp32": {}, "int8": quantised(kind=kind)}})
    cli("train", path, "--quiet")
    plain, int8 = (runs / "small" / variant / "seed-0" for variant in ("fp32", "int8"))
    left, right = (json.loads((folder / "summary.json").read_text()) for folder in (plain, int8))
    assert right["status"] == "done"
    assert right["parameters"] == left["parameters"]
    assert abs(right["test"]["best"]["accuracy"] - left["test"]["best"]["accuracy"]) < 0.03
    sizes = [(folder / "checkpoints" / checkpoint.BEST).stat().st_size for folder in (plain, int8)]
    assert sizes[1] < 0.4 * sizes[0]
    best = torch.load(int8 / "checkpoints" / checkpoint.BEST, weights_only=True)["model"]
    assert {best[f"{name}.weight"].dtype for name in (0, 4, 6)} == {torch.int8}
    changes = rows_of(int8 / "structure.csv")
    assert len(changes) == (2 if kind == "int8_aware" else 1)
    last = rows_of(int8 / "metrics.csv")[-1]
    assert last["val_loss"] == changes[-1]["val_loss_after"], "the last evaluation is of the int8 network"
    if kind != "int8_aware":
        assert changes[-1]["val_loss_before"] == rows_of(plain / "metrics.csv")[-1]["val_loss"]
    for weights in ("best", "last"):
        said = json.loads(cli("eval", int8, "--weights", weights, "--on", "test", "--json").stdout)
        assert said["accuracy"] == right["test"]["best"]["accuracy"]


def test_training_that_knows_of_the_rounding_loses_less_of_it(tmp_path: Path) -> None:
    record = fit_one(tmp_path, CONVOLUTIONS | quantised(kind="int8_aware", start=0.5, to="weight_only"))
    first, last = rows_of(record.folder / "structure.csv")
    assert first["val_loss_before"] != first["val_loss_after"], "evaluation sees the rounding too"
    # Rounded and int8 are the same numbers, but for the order of sums.
    assert float(last["val_loss_after"]) == pytest.approx(float(last["val_loss_before"]), rel=1e-5)
    plain = weights_of(fit_one(tmp_path, CONVOLUTIONS).folder)
    assert not torch.equal(plain["6.weight"], weights_of(record.folder)["6.weight"])


@pytest.mark.parametrize("rows", [1, 4, 6])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, rows: int) -> None:
    changes = CONVOLUTIONS | {
        **quantised(kind="int8_aware", start=0.4, leave_out=["0"]),
        "strategy": {"average": {"kind": "ema", "decay": 0.8}},
        "budget": {"steps": 18},
        "evaluation": {"every": {"steps": 3}},
    }
    whole = fit_one(tmp_path, changes)
    (tmp_path / "again").mkdir()
    if rows == 6:  # after the last row there is nothing left to stop
        fit_one(tmp_path / "again", changes)
        summary = next((tmp_path / "again" / "runs").rglob("summary.json"))
        kept = json.loads(summary.read_text())
        summary.write_text(json.dumps(kept | {"status": "interrupted"}))
    else:
        with pytest.raises(Interrupted):
            fit(tmp_path / "again", changes, StopAfter(rows))
    again = fit_one(tmp_path / "again", changes)
    assert_same_bits(whole.folder, again.folder)


def test_a_run_that_stops_early_is_int8_and_stays_stopped(tmp_path: Path) -> None:
    """It is evaluated twice at its last step; killed before its summary is written, it does not train on."""
    changes: dict[str, Any] = quantised(kind="int8_weight_only") | {
        "strategy": {"early_stopping": {"metric": "val_loss", "patience": 1, "min_delta": 0.5}},
        "evaluation": {"every": {"steps": 5}},
    }
    record = fit_one(tmp_path, changes)
    last, (change,) = rows_of(record.folder / "metrics.csv")[-1], rows_of(record.folder / "structure.csv")
    assert (last["val_loss"], last["step"]) == (change["val_loss_after"], "10")
    assert float(last["train_loss"]) > 0, "what training was like is kept"
    assert record.summary["reason"].startswith("stopped early")
    (record.folder / "summary.json").write_text(json.dumps(record.summary | {"status": "running"}))
    # As if the row had been written, and the checkpoint not.
    path = record.folder / "structure.csv"
    text = path.read_text()
    path.write_text(text + text.splitlines()[-1] + "\n")
    again = fit_one(tmp_path, changes)
    assert (again.summary["steps"], again.summary["reason"]) == (10, record.summary["reason"])
    assert path.read_text() == text


def test_of_averaged_weights_the_average_becomes_int8(tmp_path: Path) -> None:
    changes = quantised(kind="int8_weight_only") | {"strategy": {"average": {"kind": "ema", "decay": 0.9}}}
    record = fit_one(tmp_path, changes)
    state, best = state_of(record.folder), weights_of(record.folder, checkpoint.BEST)
    trained = restored(tmp_path, changes, record.folder)
    assert trained.average is not None
    with trained.average.in_place():
        averaged = trained.model.state_dict()["1.weight"].clone()
    int8 = best["1.weight"] * best["1.weight_scale"]
    assert (int8 - averaged).abs().max() <= 0.51 * best["1.weight_scale"].max()
    assert (int8 - state["model"]["1.weight"]).abs().max() > best["1.weight_scale"].max()


def test_pruned_weights_are_0_in_int8(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "structure": {
            "prune": {"kind": "magnitude", "amount": 0.8, "schedule": {"kind": "one_shot", "at": 0.3}},
            "quantise": {"kind": "int8_aware", "start": 0.6},
        }
    }
    best = weights_of(fit_one(tmp_path, changes).folder, checkpoint.BEST)
    weights = [best[name] for name in ("1.weight", "3.weight")]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros >= round(0.8 * sum(weight.numel() for weight in weights))


def test_layers_that_were_cut_in_two_are_int8(tmp_path: Path) -> None:
    changes = {"structure": {"low_rank": {"rank": 4}, "quantise": {"kind": "int8_aware"}}}
    best = weights_of(fit_one(tmp_path, changes).folder, checkpoint.BEST)
    assert [best[f"1.{part}.weight"].dtype for part in (0, 1)] == [torch.int8] * 2


def test_a_model_that_trains_rounded_has_rounded_layers_after_a_resume(tmp_path: Path) -> None:
    changes = quantised(kind="int8_aware", start=0.0, layers=["3"])
    record = fit_one(tmp_path, changes)
    state = restored(tmp_path, changes, record.folder)
    assert [name for name, layer in state.model.named_modules() if isinstance(layer, RoundedLinear)] == ["3"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"layers": ["convolution*"]}, r"structure.quantise.layers: 'convolution\*' matches no .* '1', '3'"),
        ({"leave_out": ["*"]}, r"structure.quantise: leave_out leaves no layer"),
    ],
)
def test_a_pattern_that_reaches_nothing_is_refused(tmp_path: Path, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        prepare(tmp_path, quantised(kind="int8_dynamic", **keys))


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        ({"low_rank": {"rank": 4, "at": 0.6}}, "should not lie before low_rank.at of 0.6"),
        (
            {
                "prune": {
                    "kind": "magnitude",
                    "amount": 0.5,
                    "granularity": "channels",
                    "schedule": {"kind": "iterative"},
                }
            },
            "should not lie before the last removal of channels at 0.7",
        ),
    ],
)
def test_rounding_waits_for_layers_that_stay(
    write_spec: Callable[..., Path], structure: dict[str, Any], words: str
) -> None:
    changes = {"structure": merge({"quantise": {"kind": "int8_aware", "start": 0.5}}, structure)}
    with pytest.raises(SpecError, match=rf"structure.quantise.start: {words}"):
        load(write_spec(changes))
