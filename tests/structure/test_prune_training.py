"""Pruning while a run trains: removed weights stay 0 whatever trains them, and a run that was stopped goes on alike."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chosen import chosen, kind_of, wants_whole_batches
from command_line import Ended
from running import StopAfter, assert_same_bits, fit, fit_one, prepare, rows_of, state_of, weights_of
from torch import Tensor

from nnopt.errors import Interrupted
from nnopt.optim.parameters import FlatParameters, Parameters
from nnopt.spec.optimizers.union import OPTIMIZERS
from nnopt.spec.structure.prune import PRUNE_SCHEDULES, PruneScheduleSpec

pytestmark = pytest.mark.usefixtures("undrawn")

WEIGHTS = 64 * 16 + 16 * 10  # of the small network, without biases
LAYERS = ("1.weight", "3.weight")
MAGNITUDE = {"kind": "magnitude", "amount": 0.9}


def pruned(**keys: Any) -> dict[str, Any]:
    """The change that prunes by magnitude, or as the keys say."""
    return {"structure": {"prune": {**MAGNITUDE, **keys}}}


def changes_of(folder: Path) -> list[dict[str, str]]:
    """The rows of structure.csv."""
    return list(csv.DictReader((folder / "structure.csv").read_text().splitlines()))


def assert_holds(folder: Path, count: int) -> None:
    """Exactly `count` weights are 0, the masked ones, in the last weights and in the best."""
    removed = state_of(folder)["shaping"]["operations"]["prune"]["removed"]
    assert sum(int(mask.sum()) for mask in removed.values()) == count
    for weights in (weights_of(folder), weights_of(folder, "best.pt")):
        assert all(torch.equal(weights[name] == 0, mask) for name, mask in removed.items())


def assert_forgotten(folder: Path, parameters: Parameters) -> None:
    """What the optimizer remembers of all weights together is 0 for the removed ones."""
    state = state_of(folder)
    removed = state["shaping"]["operations"]["prune"]["removed"]
    for moment in tensors_within(state["optimizer"]):
        if moment.shape != parameters.values[0].shape:
            continue
        of_name = dict(parameters.named([moment]))
        # Adamax adds its ε to what it remembers.
        assert all((of_name[name][mask].abs() <= 1e-7).all() for name, mask in removed.items())
        assert moment.count_nonzero() > 0.05 * WEIGHTS


def tensors_within(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors_within(part)]


RATES = {"gd": 0.5, "sgd": 0.1, "momentum": 0.3, "norm_adaptive": 0.3, "adadelta": 1.0, "lbfgs": 0.5}
OPTIONS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}}


@pytest.mark.parametrize("kind", sorted(kind for kind in OPTIMIZERS.named() if not kind_of(kind).is_second_order))
def test_removed_weights_stay_0_with_every_optimizer(tmp_path: Path, kind: str) -> None:
    full = wants_whole_batches(kind)
    changes = {
        "optimizer": chosen(kind, RATES.get(kind, 0.01), **OPTIONS.get(kind, {})),
        "strategy": {"batch_size": "full" if full else 64},
        "budget": {"steps": 10},
        **pruned(schedule={"kind": "iterative", "times": 2, "start": 0.4, "end": 0.6}),
    }
    record = fit_one(tmp_path, changes)
    assert_holds(record.folder, round(0.9 * WEIGHTS))
    parameters = prepare(tmp_path, changes)[1].parameters
    # Of a weight that is gone the objective still has a second derivative.
    if isinstance(parameters, FlatParameters) and not kind_of(kind).needs_curvature:
        assert_forgotten(record.folder, parameters)
    first, last = changes_of(record.folder)
    assert (first["step"], last["step"]) == ("4", "6")
    assert WEIGHTS + 26 - round(0.9 * WEIGHTS) == int(last["nonzero_parameters"])


AVERAGED: dict[str, dict[str, Any]] = {
    "ema": {"kind": "ema", "decay": 0.9},
    "swa": {"kind": "swa", "start": 0.1, "every": {"steps": 3}},
}
SETUPS: dict[str, dict[str, Any]] = {
    "cubic with ema": {
        **pruned(schedule={"kind": "cubic", "times": 20}),
        "strategy": {"average": AVERAGED["ema"]},
    },
    "random with swa": {
        **pruned(kind="random", schedule={"kind": "iterative", "times": 3}),
        "strategy": {"average": AVERAGED["swa"]},
    },
    "gradient in parts": {
        **pruned(kind="gradient", scope="layer", samples=300, schedule={"kind": "iterative", "times": 3}),
        "strategy": {"accumulate": 3, "clip_norm": 0.5},
        "model": {"norm": "batch", "dropout": 0.2},
    },
    "movement and back": {
        **pruned(kind="movement", schedule={"kind": "iterative", "times": 3}, rewind={"to": 0.15}),
        "strategy": {"average": AVERAGED["swa"], "lr_decay": {"kind": "cosine", "warmup": 0.1}},
    },
    "the rate goes back": {
        **pruned(schedule={"kind": "iterative", "times": 2}, rewind={"weights": False}),
        "strategy": {"lr_decay": {"kind": "plateau", "patience": 1, "min_delta": 0.3}},
    },
    "movement in fp16": {
        **pruned(kind="movement", schedule={"kind": "cubic", "times": 9}),
        "strategy": {"precision": "fp16"},
    },
    "separate parameters": {
        **pruned(kind="movement", schedule={"kind": "cubic", "times": 9}),
        "optimizer": {"kind": "muon", "lr": 0.02},
    },
}


@pytest.mark.parametrize("name", SETUPS)
def test_a_pruned_run_goes_on_as_if_it_had_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("nnopt.train.setup.check_precision", lambda precision, device: None)
    monkeypatch.setattr("nnopt.train.scaling.INTERVAL", 4)  # grows until it overflows, several times
    changes = {
        "optimizer": {"kind": "adam", "lr": 0.01},
        "budget": {"steps": 40},
        "evaluation": {"every": {"steps": 5}},
        **SETUPS[name],
    }
    whole = fit_one(tmp_path, changes)
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(Interrupted):
        fit(again, changes, StopAfter(2))
    with pytest.raises(Interrupted):
        fit(again, changes, StopAfter(2))  # two rows more, among the removals
    there = fit_one(again, changes)
    assert "resumed at step 20" in (there.folder / "run.log").read_text()
    assert_same_bits(whole.folder, there.folder)
    assert rows_of(whole.folder / "structure.csv") == rows_of(there.folder / "structure.csv")
    assert_holds(there.folder, sum(round(0.9 * size) for size in ((1024, 160) if "parts" in name else (WEIGHTS,))))


def test_half_of_each_layer_or_of_each_four(tmp_path: Path) -> None:
    for name, keys in (
        ("layer", {"amount": 0.5, "scope": "layer"}),
        ("groups", {"amount": None, "granularity": "2:4"}),
    ):
        (tmp_path / name).mkdir()
        weights = weights_of(fit_one(tmp_path / name, pruned(**keys)).folder)
        for layer in LAYERS:
            zeros = weights[layer] == 0
            assert int(zeros.sum()) == weights[layer].numel() // 2
            assert (name == "groups") == bool((zeros.view(-1, 4).sum(1) == 2).all())


def test_layers_are_reached_and_left_out_by_name(tmp_path: Path) -> None:
    weights = weights_of(fit_one(tmp_path, pruned(leave_out=["3"])).folder)
    assert int((weights["1.weight"] == 0).sum()) == round(0.9 * 1024)
    assert (weights["3.weight"] != 0).all()


def test_before_the_first_update_and_after_the_last(tmp_path: Path) -> None:
    for at, steps in ((0, ("0", "0", "40")), (1, ("40", "0", "40"))):
        folder = tmp_path / str(at)
        folder.mkdir()
        changes = pruned(schedule={"kind": "one_shot", "at": at}) | {"evaluation": {"at_start": True}}
        record = fit_one(folder, changes)
        assert_holds(record.folder, round(0.9 * WEIGHTS))
        rows, (change,) = rows_of(record.folder / "metrics.csv"), changes_of(record.folder)
        assert (change["step"], rows[0]["step"], rows[-1]["step"]) == steps
        assert rows[-1 if at else 0]["val_loss"] == change["val_loss_after"]
        assert change["val_loss_after"] != change["val_loss_before"]


def test_a_layer_that_was_cut_in_two_is_reached_under_its_name(tmp_path: Path) -> None:
    prune = {**MAGNITUDE, "kind": "movement", "layers": ["1"], "rewind": {"to": 0.3}}
    changes = {
        "structure": {"low_rank": {"rank": 4, "at": 0.3}, "prune": prune},
        "evaluation": {"every": {"steps": 5}},
        "strategy": {"average": AVERAGED["ema"]},
    }
    whole = fit_one(tmp_path, changes)
    assert_holds(whole.folder, round(0.9 * 4 * (64 + 16)))
    again = tmp_path / "again"
    again.mkdir()
    for rows in (3, 2):  # after the cut, and after the removal
        with pytest.raises(Interrupted):
            fit(again, changes, StopAfter(rows))
    assert_same_bits(whole.folder, fit_one(again, changes).folder)


def test_what_is_0_is_0_in_int8(tmp_path: Path) -> None:
    changes = pruned(schedule={"kind": "cubic"})
    changes["structure"]["quantise"] = {"kind": "int8_aware", "start": 0.3}
    record = fit_one(tmp_path, changes)
    removed = state_of(record.folder)["shaping"]["operations"]["prune"]["removed"]
    assert sum(int(mask.sum()) for mask in removed.values()) == round(0.9 * WEIGHTS)
    weights = weights_of(record.folder, "best.pt")
    for name, mask in removed.items():
        assert weights[name].dtype == torch.int8
        assert (weights[name][mask] == 0).all()


# ----------------------------------------------------------------------------------------------- rewinding


@pytest.mark.parametrize("average", [None, "ema", "swa"])
def test_what_is_left_goes_back_to_the_initial_weights(tmp_path: Path, average: str | None) -> None:
    changes = {
        "optimizer": {"kind": "adam", "lr": 0.01},
        "strategy": {"average": None if average is None else AVERAGED[average]},
        "evaluation": {"every": {"steps": 20}},
        **pruned(rewind={}),
    }
    _, setup, fresh = prepare(tmp_path, changes)
    initial = {name: tensor.clone() for name, tensor in fresh.model.state_dict().items()}
    start = copy.deepcopy(fresh.optimizer.state_dict())
    with pytest.raises(Interrupted):
        fit(tmp_path, changes, StopAfter(1))  # at the update of the removal
    folder = next(tmp_path.glob("runs/small/*/seed-0"))
    state = state_of(folder)
    removed = state["shaping"]["operations"]["prune"]["removed"]
    assert sum(int(mask.sum()) for mask in removed.values()) == round(0.9 * WEIGHTS)
    for name, tensor in state["model"].items():
        wanted = initial[name].masked_fill(removed[name], 0) if name in removed else initial[name]
        assert torch.equal(tensor, wanted)
    assert str(state["optimizer"]) == str(start)
    if average == "ema":
        means = dict(setup.parameters.named(state["average"]["values"]))
        assert all(torch.equal(tensor, means[name]) for name, tensor in state["model"].items())
    if average == "swa":
        assert state["average"]["count"] == 0


def test_the_rate_runs_to_its_end_after_each_removal(tmp_path: Path) -> None:
    schedule = {"kind": "iterative", "times": 2, "start": 0.5, "end": 0.75}
    changes = pruned(schedule=schedule, rewind={"to": 0.2}) | {"strategy": {"lr_decay": {"kind": "linear"}}}
    rates = [float(row["lr"]) for row in rows_of(fit_one(tmp_path, changes).folder / "steps.csv")]
    # Of 40 updates 20 run through the whole schedule, from then on 10 at a time from 2/5 of it.
    wanted = [0.1 * (1 - step / 20) for step in range(20)]
    wanted += 2 * [0.1 * (1 - (0.4 + 0.6 * step / 10)) for step in range(10)]
    assert rates == pytest.approx(wanted)


# ------------------------------------------------------------------------------------- movement, schedules


def test_movement_is_the_sum_of_a_slow_twin(tmp_path: Path) -> None:
    _, setup, state = prepare(tmp_path, pruned(kind="movement"))
    twin = copy.deepcopy(state.model)
    moved = {name: torch.zeros_like(parameter) for name, parameter in twin.named_parameters()}
    assert state.shaping is not None
    for step in range(5):
        rows = torch.arange(50 * step, 50 * step + 50)
        setup.backward.begin(setup.feed.of(rows), norm_wanted=False)
        state.optimizer.step(setup.backward, 0.1)
        state.shaping.after_update()
        twin.zero_grad()
        setup.loss(twin(setup.data.train.inputs[rows]), setup.data.train.targets[rows]).backward()
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                assert parameter.grad is not None
                moved[name] -= parameter * parameter.grad
                parameter -= 0.1 * parameter.grad
    found = state.shaping.state_dict()["operations"]["prune"]["moved"]
    for name, tensor in moved.items():
        torch.testing.assert_close(found[name], tensor)


def test_schedules_follow_their_formulas() -> None:
    def amounts(amount: float, **keys: Any) -> list[tuple[float, float]]:
        spec = PRUNE_SCHEDULES.find(keys["kind"]).model_validate(keys)
        assert isinstance(spec, PruneScheduleSpec)
        return list(spec.amounts(amount))

    assert amounts(0.7, kind="one_shot", at=0.25) == [(0.25, 0.7)]
    halves = amounts(0.875, kind="iterative", start=0.1, end=0.5, times=3)
    assert [at for at, _ in halves] == pytest.approx([0.1, 0.3, 0.5])
    assert [part for _, part in halves] == pytest.approx([0.5, 0.75, 0.875])
    # Zhu & Gupta 2017, equation 1, from an initial sparsity of 0.
    cubic = amounts(0.9, kind="cubic", start=0.0, end=0.8, times=5)
    assert [at for at, _ in cubic] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert [part for _, part in cubic] == pytest.approx([0.9 + (0 - 0.9) * (1 - k / 5) ** 3 for k in range(1, 6)])
    assert (halves[-1][1], cubic[-1][1]) == (0.875, 0.9)


# ------------------------------------------------------------------------------------------ command line


def test_the_best_and_last_weights_are_evaluated_as_they_were(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    cli("train", write_spec(pruned(schedule={"kind": "cubic"})), "--quiet")
    (folder,) = (path.parent for path in runs.glob("small/*/seed-0/summary.json"))
    tested = json.loads((folder / "summary.json").read_text())["test"]
    for weights in ("best", "last"):
        again = json.loads(cli("eval", folder, "--weights", weights, "--json").stdout)
        assert [again[name] for name in ("loss", "accuracy")] == [
            tested[weights][name] for name in ("loss", "accuracy")
        ]


LINES: dict[str, tuple[dict[str, Any], str]] = {
    "amount 1": ({"amount": 1.0}, "structure.prune.amount"),
    "amount below 0": ({"amount": -0.1}, "structure.prune.amount"),
    "no amount": ({"amount": None}, "structure.prune.amount: is missing"),
    "two amounts": ({"granularity": "2:4"}, "2:4 implies 0.5: leave amount out"),
    "4:2": ({"amount": None, "granularity": "4:2"}, "n:m with n below m such as 2:4, not the text '4:2'"),
    "backwards": ({"schedule": {"kind": "cubic", "start": 0.8}}, "start should lie before end"),
    "movement at 0": ({"kind": "movement", "schedule": {"kind": "one_shot", "at": 0}}, "begin after 0"),
    "channels move": ({"kind": "movement", "granularity": "channels"}, "movement ranks single weights"),
    "back too late": ({"rewind": {"to": 0.5}}, "structure.prune.rewind.to: should lie before the first removal at 0.5"),
    "no back of 0": (
        {"rewind": {"to": 0.1}, "schedule": {"kind": "iterative", "start": 0}},
        "structure.prune.rewind.to: should lie before the first removal at 0 ",
    ),
    "back at the end": (
        {"rewind": {}, "schedule": {"kind": "one_shot", "at": 1}},
        "structure.prune.schedule: the last removal ends the budget",
    ),
    "nothing back": ({"rewind": {"weights": False, "rate": False}}, "neither weights nor rate would go back"),
}


@pytest.mark.parametrize("name", LINES)
def test_bad_keys_are_one_clear_line(cli: Callable[..., Ended], write_spec: Callable[..., Path], name: str) -> None:
    keys, line = LINES[name]
    keys = {key: value for key, value in pruned(**keys)["structure"]["prune"].items() if value is not None}
    (error,) = cli("train", write_spec({"structure": {"prune": keys}}), code=2).errors
    assert line in error


@pytest.mark.parametrize(
    ("low_rank", "prune", "line"),
    [
        ({"at": 0.6}, {}, "structure.low_rank.at: should not lie after the first removal of weights at 0.5"),
        ({"at": 0.3}, {"rewind": {"to": 0.1}}, "structure.prune.rewind.to: should not lie before low_rank.at of 0.3"),
    ],
)
def test_cutting_layers_would_undo_pruning(
    cli: Callable[..., Ended],
    write_spec: Callable[..., Path],
    low_rank: dict[str, Any],
    prune: dict[str, Any],
    line: str,
) -> None:
    structure = {"low_rank": {"rank": 4, **low_rank}, "prune": {**MAGNITUDE, **prune}}
    (error,) = cli("train", write_spec({"structure": structure}), code=2).errors
    assert line in error


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"layers": ["conv*"]}, "structure.prune.layers: 'conv*' matches no linear or convolution layer; there are"),
        ({"amount": None, "granularity": "64:65"}, "structure.prune.granularity: 64:65 removes nothing"),
    ],
)
def test_what_does_not_fit_the_model_fails_before_training(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, keys: dict[str, Any], line: str
) -> None:
    keys = {key: value for key, value in pruned(**keys)["structure"]["prune"].items() if value is not None}
    (error,) = cli("train", write_spec({"structure": {"prune": keys}}), "--quiet", code=2).errors
    assert error.startswith(f"error: {line}")
    assert not runs.exists()
