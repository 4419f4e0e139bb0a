"""Channels taken out and layers cut while a run trains: what is written, stopped and gone on, evaluated again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from command_line import Ended
from running import StopAfter, assert_same_bits, fit, fit_one, prepare, summary_of, weights_of

from nnopt.errors import Interrupted, UsageError
from nnopt.train import checkpoint

pytestmark = pytest.mark.usefixtures("undrawn")

CNN: dict[str, Any] = {
    "kind": "cnn",
    "blocks": [{"channels": 4, "norm": "batch"}, {"channels": 6, "pool": "max", "norm": "batch"}],
    "hidden": [10],
}
CHANNELS = 4 + 6 + 10


def pruning(**keys: Any) -> dict[str, Any]:
    """Keys of a spec whose network loses half its channels in the middle of 24 steps."""
    prune = {"kind": "magnitude", "amount": 0.5, "granularity": "channels", **keys}
    return {
        "model": CNN,
        "optimizer": {"kind": "adam", "lr": 0.01},
        "budget": {"steps": 24},
        "evaluation": {"every": {"steps": 4}},
        "structure": {"prune": prune},
    }


def sizes(folder: Path) -> list[int]:
    """Outputs of the layers that can lose some."""
    return [len(tensor) for name, tensor in weights_of(folder).items() if name in ("0.weight", "3.weight", "8.weight")]


@pytest.mark.parametrize(
    ("amount", "keys"),
    [(0.0, {}), (0.3, {}), (0.5, {"kind": "random"}), (0.8, {"kind": "gradient", "samples": 100})],
)
def test_exactly_the_share_of_all_channels_goes(tmp_path: Path, amount: float, keys: dict[str, Any]) -> None:
    record = fit_one(tmp_path, pruning(amount=amount, **keys))
    assert sum(sizes(record.folder)) == CHANNELS - round(amount * CHANNELS)
    changes = pandas.read_csv(record.folder / "structure.csv")
    assert list(changes["step"]) == [12]
    left = sum(tensor.numel() for name, tensor in weights_of(record.folder).items() if name.endswith(("ght", "ias")))
    assert list(changes["parameters"]) == [left]


def test_every_layer_can_lose_the_same_share(tmp_path: Path) -> None:
    assert sizes(fit_one(tmp_path, pruning(scope="layer")).folder) == [2, 3, 5]


@pytest.mark.parametrize("kind", ["iterative", "cubic"])
def test_a_schedule_takes_them_little_by_little(tmp_path: Path, kind: str) -> None:
    schedule = {"kind": kind, "times": 4}
    record = fit_one(tmp_path, pruning(schedule=schedule, amount=0.6, scope="layer"))
    log = (record.folder / "run.log").read_text().splitlines()
    notes = [line[line.index("prune:") :] for line in log if "prune:" in line]
    assert len(notes) == 4
    assert notes[-1] == (
        "prune: 12 of 20 channels are gone (60 %)"
        + ("" if kind == "cubic" else "; now '3' 3 to 2, '8' 5 to 4")
        + "; untouched: '10' (the outputs of the model)"
    )
    parameters = list(pandas.read_csv(record.folder / "structure.csv")["parameters"])
    assert parameters == sorted(parameters, reverse=True)
    assert sizes(record.folder) == [2, 2, 4]


def test_no_word_of_layers_that_stay_where_none_does(tmp_path: Path) -> None:
    record = fit_one(tmp_path, pruning(layers=["8"]))
    assert "now '8' 10 to 5\n" in (record.folder / "run.log").read_text()


def test_layers_can_be_left_out(tmp_path: Path) -> None:
    assert sizes(fit_one(tmp_path, pruning(leave_out=["3"], scope="layer")).folder) == [2, 6, 5]


def test_the_seed_decides_what_chance_takes(tmp_path: Path) -> None:
    records = fit(tmp_path, {**pruning(kind="random", schedule={"kind": "one_shot", "at": 0}), "seeds": 2})
    assert len({tuple(sizes(record.folder)) for record in records}) > 1


def test_what_is_left_goes_back_to_its_early_weights(tmp_path: Path) -> None:
    """Back at the initial weights one small update before the end, they are nearly those of a new model."""
    at = {"kind": "one_shot", "at": 23 / 24}
    keys = pruning(schedule=at, scope="layer", rewind={"to": 0})
    keys["optimizer"] = {"kind": "sgd", "lr": 1e-6}
    record = fit_one(tmp_path, keys)
    _, _, state = prepare(tmp_path, keys)
    first = state.model.state_dict()["0.weight"]
    for kernel in weights_of(record.folder)["0.weight"]:
        assert (first - kernel).abs().flatten(1).amax(1).min() < 1e-5


CHANGES: dict[str, dict[str, Any]] = {
    "channels": pruning(schedule={"kind": "iterative", "times": 4}, kind="random"),
    "averaged": {**pruning(kind="gradient", samples=64), "strategy": {"average": {"kind": "ema", "decay": 0.8}}},
    "separate": {**pruning(scope="layer"), "optimizer": {"kind": "muon", "lr": 0.01}},
    "rewound": pruning(rewind={"to": 0.1}, schedule={"kind": "iterative", "times": 3}),
    "cut": {**pruning(), "structure": {"low_rank": {"rank": 3, "at": 0.4}}},
    "both": {
        **pruning(),
        "structure": {
            "low_rank": {"energy": 0.7, "at": 0.3},
            "prune": {"kind": "magnitude", "amount": 0.5, "granularity": "channels", "schedule": {"kind": "iterative"}},
        },
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changing_network_goes_on_as_if_it_had_not_stopped(tmp_path: Path, name: str) -> None:
    whole = fit_one(tmp_path, CHANGES[name])
    (tmp_path / "again").mkdir()
    with pytest.raises(Interrupted):
        fit(tmp_path / "again", CHANGES[name], StopAfter(3))
    again = fit_one(tmp_path / "again", CHANGES[name])
    assert_same_bits(whole.folder, again.folder)
    tables = [pandas.read_csv(record.folder / "structure.csv") for record in (whole, again)]
    pandas.testing.assert_frame_equal(*tables)


def test_the_smaller_network_is_kept_and_evaluated_again(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    cut = {**CHANGES["cut"], "evaluation": {"every": {"epochs": 0.1}}}
    cli("train", write_spec({**CHANGES["channels"], "variants": {"channels": {}, "cut": cut}}), "--quiet")
    for variant in ("channels", "cut"):
        folder = runs / "small" / variant / "seed-0"
        summary = summary_of(folder)
        best = checkpoint.load(folder / checkpoint.FOLDER / checkpoint.BEST)
        assert best["step"] >= pandas.read_csv(folder / "structure.csv")["step"].max(), "a best of the final network"
        for weights, tested in (("best", summary["test"]["best"]), ("last", summary["test"]["last"])):
            ended = cli("eval", f"small/{variant}/seed-0", "--weights", weights, "--json")
            assert json.loads(ended.stdout)["loss"] == pytest.approx(tested["loss"], rel=1e-12)


LAST = "is the last layer, whose outputs are those of the model (the classes): none of them can be taken out"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"structure": {"prune": {"layers": ["10"]}}}, f"structure.prune.layers: '10' {LAST}"),
        ({"structure": {"prune": {"layers": ["0", "1*"]}}}, f"structure.prune.layers: '1*' {LAST}"),
        ({"model": {"kind": "linear"}}, f"structure.prune.layers: '*' {LAST}"),
        ({"structure": {"prune": {"layers": ["conv*"]}}}, "structure.prune.layers: 'conv*' matches no linear or"),
        (
            {"model": {"kind": "resnet", "depth": 8, "width": 4}, "structure": {"prune": {"layers": ["0", "8"][:1]}}},
            "structure.prune: no channels can be taken out of '0' (tied by something that mixes or pads channels)",
        ),
        (
            {
                "model": {"kind": "resnet", "depth": 8, "width": 4, "shortcut": "projection"},
                "structure": {"prune": {"layers": ["3.convolution2"]}},
            },
            "structure.prune: no channels can be taken out of '3.convolution2' (tied to those of '0', which it leaves)",
        ),
    ],
)
def test_what_cannot_be_taken_out_is_told_before_training(tmp_path: Path, keys: dict[str, Any], told: str) -> None:
    spec = pruning(**keys.get("structure", {}).get("prune", {}))
    with pytest.raises(UsageError) as error:
        prepare(tmp_path, {**spec, "model": keys.get("model", CNN)})
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


NOTHING = "saves nothing in any layer it reaches; the largest, "


@pytest.mark.parametrize(
    ("hidden", "keys", "told"),
    [
        (10, {"rank": 3, "layers": ["x"]}, ".layers: 'x' matches no linear or convolution layer; there are '1', '3'"),
        (10, {"rank": 9}, f".rank: cutting to rank 9 {NOTHING}'1', is 10 x 64, where ranks up to 8 save"),
        (1, {"energy": 0.9}, f": cutting in two {NOTHING}'1', is 1 x 64"),
    ],
)
def test_cutting_that_can_save_nothing_is_told_before_training(
    tmp_path: Path, hidden: int, keys: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as error:
        prepare(tmp_path, {"model": {"hidden": [hidden]}, "structure": {"low_rank": keys}})
    assert str(error.value) == f"structure.low_rank{told}"


def test_layers_are_cut_only_where_that_saves(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"model": CNN, "structure": {"low_rank": {"rank": 4}}})
    shapes = {name: tuple(tensor.shape) for name, tensor in weights_of(record.folder).items() if "weight" in name}
    assert torch.Size(shapes["3.0.weight"]) == (4, 4, 3, 3)
    assert shapes["3.1.weight"] == (6, 4, 1, 1)
