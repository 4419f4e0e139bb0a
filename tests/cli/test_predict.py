"""`nnopt predict`: what it answers is what the run's own evaluation saw, from the run's folder alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import Ended
from PIL import Image
from sklearn import datasets

from nnopt.spec.data.embedded import Diabetes, Digits, Wine

pytestmark = pytest.mark.usefixtures("undrawn")

WINE: dict[str, Any] = {"data": {"kind": "wine"}, "strategy": {"batch_size": 16}, "budget": {"epochs": 10}}
DIABETES: dict[str, Any] = {
    **WINE,
    "data": {"kind": "diabetes"},
    "loss": {"kind": "mse"},
    "strategy": {"batch_size": 32, "average": {"kind": "ema", "decay": 0.9}},
}


def answers(ended: Ended) -> pd.DataFrame:
    """The table that was printed."""
    return pd.read_csv(io.StringIO(ended.stdout))


def all_wines() -> pd.DataFrame:
    """The wines as scikit-learn gives them, with their classes in a column that no run reads."""
    found = datasets.load_wine(as_frame=True)
    return found.frame


def test_wines_are_told_as_the_test_metrics_say(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    cli("train", write_spec(WINE))
    wines = all_wines()
    wines.to_csv(tmp_path / "wines.csv", index=False)
    found = answers(cli("predict", "small", tmp_path / "wines.csv"))
    classes = Wine(kind="wine").load().classes
    assert list(found) == ["row", "prediction", *(f"p_{name}" for name in classes)]
    assert list(found["row"]) == list(range(1, len(wines) + 1))
    shares = found[[f"p_{name}" for name in classes]].to_numpy()
    assert np.allclose(shares.sum(1), 1, atol=1e-5)
    assert (found["prediction"] == np.array(classes)[shares.argmax(1)]).all()
    right = (shares.argmax(1) == wines["target"]).mean()
    summary = json.loads(next(runs.rglob("summary.json")).read_text())
    assert right > 0.9
    assert summary["test"]["best"]["accuracy"] > 0.8
    shuffled = wines[sorted(wines, reverse=True)]  # by name, not by place
    shuffled.to_csv(tmp_path / "turned.csv", index=False)
    assert answers(cli("predict", "small", tmp_path / "turned.csv")).equals(found)


def test_numbers_come_in_the_units_of_the_data_and_from_the_average(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    cli("train", write_spec(DIABETES))
    patients = datasets.load_diabetes(as_frame=True, scaled=False)
    patients.data.to_csv(tmp_path / "patients.csv", index=False)
    told = cli("predict", "small", tmp_path / "patients.csv", "--weights", "last", "--output", tmp_path / "out.csv")
    assert told.stdout.startswith("442 answers of ")
    errors = pd.read_csv(tmp_path / "out.csv")["prediction"] - patients.target
    data = Diabetes(kind="diabetes").load()
    summary = json.loads(next(runs.rglob("summary.json")).read_text())
    _, targets = data.test.gather(None)
    in_units = targets[:, 0] * data.target_scale + data.target_mean
    of_test = patients.target.isin(in_units.round().tolist())
    assert errors[of_test].abs().mean() == pytest.approx(summary["test"]["last"]["mae"], rel=0.25)


def test_images_and_arrays_of_digits_have_the_same_answers(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    cli("train", write_spec())
    test_inputs, _ = Digits(kind="digits").load().test.gather(None)
    pixels = (test_inputs[:20, 0] * 16).round().numpy()
    np.save(tmp_path / "digits.npy", pixels)
    (tmp_path / "folder").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray((image * (255 / 16)).round().astype(np.uint8)).save(tmp_path / "folder" / f"{number:02}.png")
    of_array = answers(cli("predict", "small", tmp_path / "digits.npy"))
    of_files = answers(cli("predict", "small", tmp_path / "folder"))
    assert list(of_files["file"]) == [f"{number:02}.png" for number in range(20)]
    assert list(of_array["row"]) == list(range(20))
    assert (of_array["prediction"] == of_files["prediction"]).mean() >= 0.95  # a grey level is lost here and there
    one = answers(cli("predict", "small", tmp_path / "folder" / "03.png"))
    assert one["prediction"].item() == of_files["prediction"][3]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.csv", None, "there is no file"),
        ("empty.csv", "", "empty.csv"),
        ("short.csv", "alcohol\n1\n", "lacks the columns 'malic_acid', 'ash'"),
        ("words.csv", "WINE", "row 1"),
        ("none.csv", "HEAD", "no row"),
    ],
)
def test_a_file_of_something_else_is_refused(
    cli: Callable[..., Ended],
    write_spec: Callable[..., Path],
    tmp_path: Path,
    name: str,
    content: str | None,
    said: str,
) -> None:
    cli("train", write_spec({**WINE, "budget": {"epochs": 1}}))
    head = ",".join(all_wines())
    if content is not None:
        whole = {"WINE": f"{head}\n" + ",".join(["many"] * 14) + "\n", "HEAD": f"{head}\n"}.get(content, content)
        (tmp_path / name).write_text(whole)
    ended = cli("predict", "small", tmp_path / name, code=2)
    assert said in ended.stderr
    assert len(ended.errors) == 1


def test_a_run_that_cannot_be_asked_is_said(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    down = {
        "data": {"kind": "function", "function": {"kind": "beale"}},
        "model": {"kind": "point"},
        "loss": {"kind": "objective"},
        "strategy": {"batch_size": 1},
        "budget": {"steps": 2},
    }
    cli("train", write_spec(down))
    assert "nothing to predict" in cli("predict", "small", tmp_path, code=2).stderr
    record = next(runs.rglob("data.json"))
    record.write_text("{}")
    assert "is damaged" in cli("predict", "small", tmp_path, code=2).stderr
    record.unlink()
    assert "has no data.json" in cli("predict", "small", tmp_path, code=2).stderr


def test_what_is_counted_or_drawn_in_training_rows_is_not_needed(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    wines = all_wines()
    wines["strong"], wines["sour"] = wines["alcohol"] > 13, wines["malic_acid"] > 2
    table = wines.drop(columns="target").astype(float)
    table.to_csv(tmp_path / "wines.csv", index=False)
    data = {"kind": "csv", "path": str(tmp_path / "wines.csv"), "task": "multilabel", "target": ["strong", "sour"]}
    changes = {
        **WINE,
        "data": {**data, "augment": [{"kind": "noise", "std": 0.1}]},
        "loss": {"kind": "bce", "class_weights": "balanced"},
        "evaluation": {"test_time": 2},
    }
    cli("train", write_spec(changes))
    found = answers(cli("predict", "small", tmp_path / "wines.csv"))
    assert len(found) == len(wines)
    right = (found["strong"] == wines["strong"]).mean()
    assert right > 0.8
