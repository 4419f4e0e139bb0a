"""`nnopt export` to files that hold the whole program: what other runtimes answer, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from command_line import Ended
from running import fit_one
from sklearn import datasets
from sklearn.metrics import r2_score

from nnopt.export.agreement import _Equal, _Numbers
from nnopt.export.programs import TorchTarget
from nnopt.spec.data.embedded import Diabetes, Digits
from nnopt.train import checkpoint

Cli = Callable[..., Ended]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on digits: 64-16-10, relu."""
    return fit_one(
        tmp_path_factory.mktemp("digits"), {"optimizer": {"kind": "adam", "lr": 0.01}, "budget": {"epochs": 4}}
    ).folder


@pytest.fixture
def run(digits: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(digits, tmp_path / "seed-0"))


def content_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a run's folder, but for exports."""
    files = [path for path in folder.rglob("*") if path.is_file() and "exports" not in path.parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def by_hand(folder: Path, inputs: np.ndarray) -> np.ndarray:
    """What the best weights of `digits` answer, in float64 and without torch's layers."""
    weights = {
        name: one.double().numpy() for name, one in checkpoint.load(folder / "checkpoints/best.pt")["model"].items()
    }
    hidden = np.maximum(inputs.reshape(len(inputs), -1) @ weights["1.weight"].T + weights["1.bias"], 0)
    return np.asarray(hidden @ weights["3.weight"].T + weights["3.bias"])


def test_onnxruntime_answers_as_the_weights_say(run: Path, cli: Cli) -> None:
    before = content_of(run)
    told = json.loads(cli("export", run, "--to", "onnx", "--json").stdout)
    assert content_of(run) == before
    folder = run / "exports" / "onnx"
    assert told == {"folder": str(folder), **json.loads((folder / "export.json").read_text())}
    assert sorted(path.name for path in run.glob("exports/onnx/*")) == ["export.json", "model.onnx"]
    assert told["sha256"]["model.onnx"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()

    inputs, targets = Digits(kind="digits").load().test.gather(None)
    session = onnxruntime.InferenceSession(folder / told["file"])
    found = session.run([told["output"]["name"]], {told["input"]["name"]: inputs.numpy()})[0]
    wanted = by_hand(run, inputs.double().numpy())
    assert np.abs(found - wanted).max() < 1e-4
    alone = session.run(None, {"input": inputs[:1].numpy()})[0]
    assert np.abs(alone - wanted[:1]).max() < 1e-4
    accuracy = (found.argmax(1) == targets.numpy()).mean()
    assert told["comparison"]["metrics"]["export"]["accuracy"] == pytest.approx(accuracy)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["best"]["accuracy"] == pytest.approx(accuracy)
    assert told["spec_hash"] == summary["spec_hash"]
    assert told["comparison"]["samples"] == len(targets)
    assert told["comparison"]["largest_difference"] < 1e-4
    assert told["comparison"]["largest_output"] == pytest.approx(np.abs(wanted).max(), rel=1e-4)

    # What the record says of the normalisation is enough for pictures as scikit-learn gives them.
    normalisation = told["input"]["normalisation"]
    raw = datasets.load_digits().images[:, None].astype(np.float32)
    shift, scale = (np.float32(normalisation[name]).reshape(1, -1, 1, 1) for name in ("shift", "scale"))
    answers = session.run(None, {"input": (raw - shift) / scale})[0].argmax(1)
    names = np.array(told["output"]["classes"])
    assert (names[answers] == datasets.load_digits().target.astype(str)).mean() > 0.85
    assert normalisation["in_the_export"] is False


def test_numbers_of_averaged_weights_take_raw_inputs(tmp_path: Path, cli: Cli) -> None:
    keys: dict[str, Any] = {
        "data": {"kind": "diabetes", "normalise": "standard"},
        "loss": {"kind": "mse"},
        "strategy": {"batch_size": 32, "average": {"kind": "ema", "decay": 0.9}},
        "budget": {"epochs": 10},
    }
    folder = fit_one(tmp_path, keys).folder
    out = tmp_path / "there"
    ended = cli("export", folder, "--to", "torch", "--weights", "last", "--raw-inputs", "--out", out)
    record = json.loads((out / "export.json").read_text())
    assert record["input"]["normalisation"]["in_the_export"] is True
    assert record["weights"] == "last"
    assert record["comparison"]["agreement"] == pytest.approx(1)
    patients = datasets.load_diabetes(as_frame=True, scaled=False).data
    with torch.no_grad():
        found = torch.export.load(out / "model.pt2").module()(torch.tensor(patients.to_numpy(np.float32)))
    assert found.shape == (len(patients), 1)
    in_units = found[:, 0].numpy() * record["output"]["target_scale"][0] + record["output"]["target_mean"][0]
    patients.to_csv(tmp_path / "patients.csv", index=False)
    table = cli("predict", folder, tmp_path / "patients.csv", "--weights", "last").stdout
    wanted = pd.read_csv(io.StringIO(table))["prediction"]
    assert np.allclose(in_units, wanted, rtol=1e-4)
    # The table shows what the file says.
    for line in ended.stdout.splitlines():
        if line.startswith(("loss", "mae")):
            name, of_torch, of_export = line.split()
            shown = [record["comparison"]["metrics"][who][name] for who in ("torch", "export")]
            assert [float(of_torch), float(of_export)] == pytest.approx(shown, rel=1e-5)
    assert "R² against torch: 1" in ended.stdout
    assert f"{len(Diabetes(kind='diabetes').load().test)} test samples" in ended.stdout


def test_a_disagreement_is_an_error_and_leaves_nothing(run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(run.rglob("*"))
    opened = TorchTarget.open

    def wrong(target: TorchTarget, subject: Any, folder: Path) -> Callable[[torch.Tensor], torch.Tensor]:
        answer = opened(target, subject, folder)
        return lambda inputs: answer(inputs) + 0.01 * (torch.arange(len(inputs)) == 7)[:, None]

    monkeypatch.setattr(TorchTarget, "open", wrong)
    ended = cli("export", run, "--to", "torch", code=1)
    (line,) = ended.errors
    assert "the torch export and torch disagree on the test data" in line
    assert "the largest difference of two outputs is 0.01" in line
    assert "nothing was kept" in line
    assert sorted(run.rglob("*")) == before
    cli("export", run, "--to", "torch", "--tolerance", "0.02")
    record = json.loads((run / "exports/torch/export.json").read_text())
    assert record["comparison"]["largest_difference"] == pytest.approx(0.01, rel=1e-2)
    # Another export gets a place of its own.
    cli("export", run, "--to", "torch", "--tolerance", "0.02", "--samples", "5")
    record = json.loads((run / "exports/torch-2/export.json").read_text())
    assert record["comparison"]["samples"] == 5
    assert record["comparison"]["largest_difference"] < 1e-4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "onx"], "--to onx: choose one of onnx, torch, executorch, fpga; did you mean 'onnx'?"),
        (["--to", "torch", "--precision", "fixed<16,6>"], "--precision is no option of --to torch"),
        (["--to", "fpga", "--tolerance", "0.1"], "--tolerance is no option of --to fpga"),
        (["--to", "fpga", "--precision", "float"], "--precision float: write fixed<16,6>"),
        (["--to", "fpga", "--precision", "fixed<99,6>"], "(at most 64)"),
        (["--to", "fpga", "--backend", "Vits"], "did you mean 'Vitis'?"),
        (["--to", "fpga", "--raw-inputs"], "--to fpga takes no --raw-inputs"),
        (["--to", "torch", "--out", "."], "exists, and nothing is overwritten"),
        (["--to", "torch", "--out", "model.pt2"], "leave .pt2 out"),
        (["--to", "torch", "--out", "no/where"], "which is no folder: make it first"),
    ],
)
def test_what_cannot_be_is_one_line(run: Path, cli: Cli, options: list[str], words: str) -> None:
    ended = cli("export", run, *options, code=2)
    (line,) = ended.errors
    assert line.startswith("error: ")
    assert words in line
    assert not (run / "exports").exists()


@pytest.mark.parametrize(
    ("status", "words"),
    [("diverged", "it diverged"), ("failed", "its run.log says why"), ("interrupted", "train the same")],
)
def test_a_run_that_is_not_done_is_refused(run: Path, cli: Cli, status: str, words: str) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"status": status}))
    assert words in cli("export", run, "--to", "torch", code=2).stderr


def test_weights_that_are_not_there_are_refused(run: Path, cli: Cli) -> None:
    (run / "checkpoints" / "best.pt").unlink()
    assert "best.pt is not there" in cli("export", run, "--to", "torch", code=1).stderr


def test_what_is_not_installed_is_named(run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "which is not on the PATH" in cli("export", run, "--to", "fpga", code=2, PATH=str(tmp_path)).stderr
    known = importlib.util.find_spec
    absent = ("onnxscript", "hls4ml", "executorch")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in absent else known(name, *rest))
    for target in ("onnx", "fpga", "executorch"):
        told = cli("export", run, "--to", target, code=2).stderr
        assert f"pip install 'nnopt[{target}]'" in told


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"kind": "mlp", "hidden": [4], "activation": "gelu"}, "layer '2' is a GELU"),
        ({"kind": "mlp", "hidden": [4], "norm": "layer"}, "layer '2' is a LayerNorm"),
        (
            {"kind": "cnn", "blocks": [{"channels": 2}, {"channels": 2, "block": "separable"}]},
            "'2' is a Conv2d of 2 groups",
        ),
        ({"kind": "resnet", "depth": 8, "width": 2}, "the model calls getitem"),
    ],
)
def test_a_layer_that_no_chip_has_is_named(tmp_path: Path, cli: Cli, model: dict[str, Any], words: str) -> None:
    folder = fit_one(tmp_path, {"model": model, "budget": {"steps": 1}}).folder
    (line,) = cli("export", folder, "--to", "fpga", code=2).errors
    assert words in line
    assert "export to onnx, torch or executorch" in line


def test_agreement_of_numbers_is_r_squared_and_of_classes_a_share() -> None:
    generator = torch.Generator().manual_seed(1)
    wanted = torch.randn(50, 3, generator=generator)
    found = wanted + 0.3 * torch.randn(50, 3, generator=generator)
    for column in range(3):
        numbers = _Numbers(column)
        for part in (slice(0, 20), slice(20, 50)):
            numbers.update(found[part], wanted[part])
        assert numbers.share == pytest.approx(r2_score(wanted[:, column], found[:, column]))
    equal = _Equal(lambda outputs: outputs.argmax(1))
    equal.update(found[:20], wanted[:20])
    equal.update(found[20:], wanted[20:])
    assert equal.share == (found.numpy().argmax(1) == wanted.numpy().argmax(1)).mean()
    assert 0.5 < equal.share < 1
    constant = _Numbers(0)
    constant.update(torch.ones(3, 1), torch.ones(3, 1))
    assert constant.share == 1
    constant.update(torch.zeros(1, 1), torch.ones(1, 1))
    assert constant.share == 0
