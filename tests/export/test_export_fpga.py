"""`nnopt export --to fpga`: the C++ that lies there answers as the report says, and narrow numbers are refused."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hls4ml
import numpy as np
import pytest
import torch
from command_line import Ended
from running import fit_one
from torch import nn

from nnopt.export.fpga_network import readable
from nnopt.models.cnn import Block, cnn
from nnopt.models.nin import NinBlock, nin
from nnopt.models.perceptron import perceptron
from nnopt.models.resnet import resnet
from nnopt.spec.data.embedded import Digits
from nnopt.structure.quantise.conversion import quantised_copy
from nnopt.train import checkpoint

Cli = Callable[..., Ended]

PERCEPTRON: dict[str, Any] = {"optimizer": {"kind": "adam", "lr": 0.01}, "budget": {"epochs": 4}}
PRUNED: dict[str, Any] = {**PERCEPTRON, "structure": {"prune": {"kind": "magnitude", "amount": 0.5}}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # hls4ml's own way to read a project
def test_the_project_answers_as_the_report_says(tmp_path: Path, cli: Cli) -> None:
    folder = fit_one(tmp_path, PRUNED).folder
    told = json.loads(cli("export", folder, "--to", "fpga", "--part", "xc7z020clg400-1", "--json").stdout)
    project = Path(told["folder"])
    assert project == folder / "exports/fpga"
    assert "xc7z020clg400-1" in (project / "project.tcl").read_text()

    # The emulation is compiled anew where the project lies now, without nnopt.
    assert not list(project.rglob("*.so"))
    subprocess.run(["./build_lib.sh"], cwd=project, check=True, capture_output=True)
    linked = hls4ml.converters.link_existing_project(project)
    linked.compile()
    inputs, targets = Digits(kind="digits").load().test.gather(None)
    assert told["details"]["inputs"] == "flat"
    found = linked.predict(np.ascontiguousarray(inputs.flatten(1).numpy()))
    weights = {
        name: one.double().numpy() for name, one in checkpoint.load(folder / "checkpoints/best.pt")["model"].items()
    }
    hidden = np.maximum(inputs.flatten(1).double().numpy() @ weights["1.weight"].T + weights["1.bias"], 0)
    wanted = hidden @ weights["3.weight"].T + weights["3.bias"]
    comparison = told["comparison"]
    assert comparison["agreement"] == (found.argmax(1) == wanted.argmax(1)).mean() >= 0.99
    assert comparison["largest_difference"] == pytest.approx(np.abs(found - wanted).max(), rel=1e-3)
    accuracy = (found.argmax(1) == targets.numpy()).mean()
    assert comparison["metrics"]["export"]["accuracy"] == pytest.approx(accuracy)

    # Multipliers are those that the generated code allows.
    parameters = (project / "firmware/parameters.h").read_text()
    for layer, struct in zip(
        told["details"]["layers"], re.findall(r"dense_config \{(.*?)\};", parameters, re.S), strict=True
    ):
        number = {name: int(value) for name, value in re.findall(r"unsigned (\w+) = (\d+);", struct)}
        limit = (
            -(-number["n_in"] * number["n_out"] // number["reuse_factor"]) - number["n_zeros"] // number["reuse_factor"]
        )
        assert (layer["multipliers"], layer["zeros"], layer["reuse"]) == (
            limit,
            number["n_zeros"],
            number["reuse_factor"],
        )
    assert told["details"]["total"]["multipliers"] == (64 * 16 + 16 * 10) / 2


@pytest.mark.slow
def test_numbers_that_are_too_narrow_are_an_error(tmp_path: Path, cli: Cli) -> None:
    folder = fit_one(tmp_path, PERCEPTRON).folder
    (line,) = cli("export", folder, "--to", "fpga", "--precision", "fixed<5,2>", code=1).errors
    assert "Vitis at fixed<5,2>: the share of answers that equal torch's is" in line
    assert "It holds numbers below 2, and " in line
    assert not (folder / "exports").exists()


@pytest.mark.slow
def test_pictures_stream_through_a_chip(tmp_path: Path, cli: Cli) -> None:
    blocks = [{"channels": 3, "pool": "max"}, {"channels": 4, "norm": "batch"}]
    keys = {**PERCEPTRON, "model": {"kind": "cnn", "blocks": blocks, "hidden": []}}
    folder = fit_one(tmp_path, keys).folder
    told = json.loads(cli("export", folder, "--to", "fpga", "--io", "stream", "--json").stdout)
    assert told["details"]["inputs"] == "channels_last"
    assert told["comparison"]["agreement"] >= 0.99


@pytest.mark.slow
def test_multipliers_take_turns_in_a_residual_network(tmp_path: Path, cli: Cli) -> None:
    blocks = [{"channels": 3, "pool": "max"}, {"channels": 4, "norm": "batch", "block": "residual"}]
    keys = {**PERCEPTRON, "model": {"kind": "cnn", "blocks": blocks, "hidden": []}}
    folder = fit_one(tmp_path, keys).folder
    told = json.loads(cli("export", folder, "--to", "fpga", "--reuse", "3", "--json").stdout)
    assert told["details"]["inputs"] == "as in torch"
    assert {layer["strategy"] for layer in told["details"]["layers"]} == {"resource"}
    assert all(layer["reuse"] > 1 for layer in told["details"]["layers"])


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (perceptron((1, 8, 8), 5, (6, 6), "tanh", 0.2, "batch", connections="residual"), (1, 8, 8)),
        (perceptron((9,), 5, (6, 6), connections="dense"), (9,)),
        (cnn((2, 8, 8), 5, [Block(3, pool="average"), Block(4, block="residual", norm="batch")], (7,)), (2, 8, 8)),
        (nin((1, 8, 8), 5, [NinBlock(4, 3, (3,))], norm="batch"), (1, 8, 8)),
        (resnet((1, 8, 8), 5, 8, 2, shortcut="projection"), (1, 8, 8)),
    ],
    ids=["residual", "dense", "cnn", "nin", "resnet"],
)
def test_what_hls4ml_reads_is_the_same_function(network: nn.Sequential, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, *shape)
    network.train()(inputs)  # norms get means of their own
    network.eval()
    made, flat = readable(network, inputs)
    with torch.no_grad():
        assert torch.allclose(made(inputs.flatten(1) if flat else inputs), network(inputs), atol=1e-5)
    assert flat == isinstance(network[0], nn.Flatten)
    kinds = {type(layer) for layer in made.children()}
    assert kinds <= {nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.Tanh, nn.AvgPool2d, nn.Flatten}


def test_int8_weights_become_plain_numbers() -> None:
    torch.manual_seed(0)
    whole = perceptron((8,), 3, (5,)).eval()
    inputs = torch.randn(6, 8)
    network = quantised_copy(whole, ["1", "3"], dynamic=False)
    made, _ = readable(network, inputs)
    with torch.no_grad():
        assert torch.allclose(made(inputs), network(inputs), atol=1e-6)
        assert not torch.allclose(made(inputs), whole(inputs), atol=1e-6)
    assert {type(layer) for layer in made.children()} == {nn.Linear, nn.ReLU}
