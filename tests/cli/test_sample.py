"""`nnopt sample` and a run on text through the command line."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from command_line import Ended
from running import StopAfter, assert_same_bits, fit, fit_one, prepare

from nnopt.data.sources.text import TextLayout
from nnopt.errors import Interrupted
from nnopt.structure.accounts.layers import account_of_layers
from nnopt.train.foretelling import foretold
from nnopt.train.generation import generate
from nnopt.train.prediction import answering, load_trained

pytestmark = pytest.mark.usefixtures("undrawn")

# 28 characters; each line is the alphabet.
ALPHABET = "abcdefghijklmnopqrstuvwxyz.\n" * 200
KEYS: dict[str, Any] = {
    "data": {"kind": "text", "context": 16},
    "model": {"kind": "transformer", "layers": 1, "heads": 2, "width": 16},
    "optimizer": {"kind": "adamw", "lr": 0.02},
    "strategy": {"batch_size": 32},
    "budget": {"steps": 60},
    "evaluation": {
        "every": {"steps": 30},
        "at_start": True,
        "metrics": ["perplexity", "bits_per_character", "accuracy"],
    },
    "device": "cpu",
}


def keys(folder: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a run on a text that lies in `folder`."""
    path = folder / "alphabet.txt"
    path.write_text(ALPHABET)
    return {**KEYS, "data": {**KEYS["data"], "path": str(path)}, **changes}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has learnt the alphabet; the text is gone."""
    folder = tmp_path_factory.mktemp("alphabet")
    record = fit_one(folder, keys(folder))
    (folder / "alphabet.txt").unlink()
    return record.folder


def test_a_run_on_the_alphabet_goes_on_with_it(trained: Path, cli: Callable[..., Ended], tmp_path: Path) -> None:
    table = pandas.read_csv(trained / "metrics.csv")
    assert table["val_loss"].iloc[0] == pytest.approx(math.log(28), abs=0.1)
    assert table["val_loss"].iloc[-1] < 0.5
    assert table["val_perplexity"].tolist() == pytest.approx([math.exp(loss) for loss in table["val_loss"]])
    said = cli("sample", trained, "--prompt", "def", "--tokens", "25", "--temperature", "0").stdout
    assert said == "defghijklmnopqrstuvwxyz.\nabc\n"
    without = cli("sample", trained, "--tokens", "4", "--temperature", "0").stdout
    assert without == "abcd\n"
    hot = ["sample", trained, "--tokens", "40", "--temperature", "3"]
    drawn = [cli(*hot, "--seed", seed).stdout for seed in ("0", "0", "1")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert cli(*hot, "--top-k", "1").stdout == cli("sample", trained, "--tokens", "40", "--temperature", "0").stdout
    # The folder is all it takes, wherever it lies.
    moved = shutil.copytree(trained, tmp_path / "elsewhere")
    assert cli("sample", moved, "--prompt", "x", "--tokens", "2", "--temperature", "0").stdout == "xyz\n"
    assert cli("sample", moved, "--weights", "last", "--tokens", "3").exit_code == 0


def test_what_cannot_be_gone_on_with_is_told_in_a_line(
    trained: Path, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    ended = cli("sample", trained, "--prompt", "a ☃", code=2)
    assert ended.errors == ["error: --prompt: the character ' ' at place 2 does not occur in the training text"]
    cli("train", write_spec({"name": "digits", "budget": {"steps": 1}}), "--quiet")
    ended = cli("sample", runs / "digits", code=2)
    assert len(ended.errors) == 1
    assert "was trained on digits, and only a run on text goes on with one" in ended.errors[0]


def test_predictions_are_the_probabilities_of_each_token(
    trained: Path, cli: Callable[..., Ended], tmp_path: Path
) -> None:
    new = tmp_path / "new.txt"
    text = "uvwxyz.\nabcdefghijklmnopqrstuvwxyz.\nabcz"
    new.write_text(text)
    output = tmp_path / "out.csv"
    cli("predict", trained, new, "--output", output)
    table = pandas.read_csv(output)
    assert list(table) == ["position", "token", "probability", "nll"]
    assert table["position"].tolist() == list(range(1, len(text)))
    assert table["token"].tolist() == ["\\n" if one == "\n" else one for one in text[1:]]
    assert table["nll"].tolist() == pytest.approx((-table["probability"].map(math.log)).tolist(), rel=1e-3)
    assert table["probability"].iloc[-2] > 0.5 > table["probability"].iloc[-1]  # c after b, and z after c
    setup, state, _ = load_trained(trained, "best")
    assert setup.data.encoding is not None
    layout = setup.data.encoding.layout
    assert isinstance(layout, TextLayout)
    numbers = torch.from_numpy(layout.numbers(new))
    with answering(setup, state) as network:
        for batch in (1, 100):
            found = foretold(network, numbers, 16, batch).exp().tolist()
            assert found == pytest.approx(table["probability"].tolist(), rel=1e-4)


def test_draws_follow_the_scores() -> None:
    scores = torch.tensor([0.0, 1.0, 2.0, -1.0])

    class Always(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            assert tokens.shape[1] <= 3
            return scores.expand(*tokens.shape, 4)

    def shares(temperature: float, top_k: int | None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        drawn = list(generate(Always(), torch.tensor([0]), 1000, 3, temperature, top_k, generator))
        return torch.bincount(torch.tensor(drawn), minlength=4) / 1000

    assert torch.allclose(shares(1.0, None), scores.softmax(0), atol=0.05)
    assert torch.allclose(shares(0.5, None), (2 * scores).softmax(0), atol=0.05)
    assert torch.allclose(shares(1.0, 2)[1:3], scores[1:3].softmax(0), atol=0.05)
    assert shares(1.0, 2)[[0, 3]].sum() == 0
    assert shares(0, None).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("model", [{"kind": "lstm", "layers": 1, "width": 8}, {**KEYS["model"], "dropout": 0.1}])
def test_a_run_that_was_interrupted_goes_on_bit_for_bit(tmp_path: Path, model: dict[str, Any]) -> None:
    folders = []
    for name in ("whole", "broken"):
        folder = tmp_path / name
        folder.mkdir()
        changes = keys(tmp_path, model=model, budget={"steps": 24}, evaluation={"every": {"steps": 7}})
        changes["strategy"] = {"batch_size": 32, "average": {"kind": "ema", "decay": 0.9}}
        if name == "broken":
            with pytest.raises(Interrupted):
                fit(folder, changes, StopAfter(1))
        (record,) = fit(folder, changes)
        assert record.status == "done"
        folders.append(record.folder)
    assert_same_bits(*folders)


def test_models_and_data_that_do_not_fit_are_refused_before_anything_is_read(
    cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    text = {"kind": "text", "path": "nowhere.txt"}
    ended = cli("train", write_spec({"data": text}), code=2)
    assert "model.kind: model mlp reads numbers, and this data gives tokens: take transformer or lstm" in ended.stderr
    ended = cli("train", write_spec({"model": {"kind": "transformer"}}), code=2)
    assert "model.kind: model transformer reads tokens: take data text, or another model" in ended.stderr
    ended = cli("train", write_spec({"model": {"kind": "point"}}), code=2)
    assert "model.kind: model point answers every sample alike: take data function, or another model" in ended.stderr
    ended = cli("train", write_spec({"data": text, "model": {"kind": "lstm"}}), code=2)
    assert len(ended.errors) == 1
    assert "data.path: there is no file or folder nowhere.txt" in ended.errors[0]


def test_an_account_of_a_network_tells_the_multiply_adds_of_its_layers(tmp_path: Path) -> None:
    places, width, vocabulary = 16, 16, 28
    _, setup, state = prepare(tmp_path, keys(tmp_path))
    layers = {layer.name: layer for layer in account_of_layers(state.model, setup.data.train.first(1))}
    assert layers["head"].multiply_adds == places * width * vocabulary
    assert layers["blocks.0.dense.0"].multiply_adds == places * width * 4 * width
    _, setup, state = prepare(tmp_path, keys(tmp_path, model={"kind": "lstm", "layers": 2, "width": width}))
    layers = {layer.name: layer for layer in account_of_layers(state.model, setup.data.train.first(1))}
    assert layers["cells"].multiply_adds == places * 2 * 4 * width * (width + width)
    assert layers["cells"].output_shape == (places, width)
