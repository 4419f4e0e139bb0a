"""Data sets of Hugging Face from folders and files; none of these tests needs a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from own_files import images_and_labels
from PIL import Image

from nnopt.errors import DataError
from nnopt.spec.data.hugging_face import HuggingFace

ROWS = 60


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNOPT_DATA_DIR", str(tmp_path / "data"))
    datasets.disable_progress_bars()
    yield tmp_path
    datasets.enable_progress_bars()


def table() -> datasets.Dataset:
    """Numbers with gaps, words, and classes that the data set names."""
    random = np.random.default_rng(0)
    columns = {
        "size": [None if row % 9 == 0 else float(row) for row in range(ROWS)],
        "colour": [["red", "green"][row % 2] for row in range(ROWS)],
        "pixels": random.random((ROWS, 4)).tolist(),
        "label": [row % 3 for row in range(ROWS)],
    }
    return datasets.Dataset.from_dict(columns).cast_column("label", datasets.ClassLabel(names=["lo", "mid", "hi"]))


def load(**keys: Any) -> Any:
    return HuggingFace.model_validate({"kind": "huggingface", **keys}).load()


def refused(**keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(**keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_of_numbers_and_words_are_read_as_a_table_is(here: Path) -> None:
    table().save_to_disk("saved")
    data = load(path="saved", inputs=["size", "colour"])
    assert sorted(data.classes) == ["hi", "lo", "mid"]
    assert data.input_shape == (4,)  # the number, where it is missing, and two colours
    assert data.encoding.layout.kind == "table"
    table().remove_columns("pixels").to_parquet("rows.parquet")
    again = load(path="rows.parquet", inputs=["size", "colour"])
    assert torch.equal(again.train.gather(None)[0], data.train.gather(None)[0])


def test_a_column_of_lists_is_features_and_splits_are_the_parts(here: Path) -> None:
    rows = table()
    parts = {"train": rows, "validation": rows.select(range(9)), "test": rows.select(range(20))}
    datasets.DatasetDict(parts).save_to_disk("saved")
    data = load(path="saved", inputs="pixels")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [60, 9, 20]
    named = dict(zip(("lo", "mid", "hi"), map(list, [range(0, 9, 3), range(1, 9, 3), range(2, 9, 3)]), strict=True))
    inputs, targets = data.validation.gather(None)
    assert inputs.shape == (9, 4)
    for name, places in named.items():
        assert (targets[places] == data.classes.index(name)).all()
    drawn = load(path="saved", inputs="pixels", validation_split="none", test_split="none", validation=7, test=5)
    assert [len(part) for part in (drawn.train, drawn.validation, drawn.test)] == [48, 7, 5]


def test_a_column_of_images_gives_what_the_files_give(here: Path) -> None:
    images, labels = images_and_labels(40)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("0123456789"))})
    rows = {"image": [Image.fromarray(image) for image in images], "label": labels.tolist()}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk("saved")
    held, streamed = (load(path="saved", in_memory=wanted, normalise="unit") for wanted in (True, False))
    assert torch.equal(held.train.gather(None)[0], streamed.train.gather(None)[0])
    found = torch.cat([part.gather(None)[0] for part in (held.train, held.validation, held.test)])
    assert torch.equal(found.flatten(1).sum(1).sort()[0], (torch.from_numpy(images) / 255).flatten(1).sum(1).sort()[0])
    assert load(path="saved", size=[4, 6], channels=3).input_shape == (3, 4, 6)


def test_what_is_not_there_is_said(here: Path) -> None:
    rows = table()
    datasets.DatasetDict(train=rows, test=rows).save_to_disk("saved")
    assert "no split 'tset'; did you mean 'test'?" in refused(path="saved", inputs="size", test_split="tset")
    assert "no column 'lable'; did you mean 'label'?" in refused(path="saved", target="lable")
    assert "column 'pixels' of saved is of type List" in refused(path="saved")
    assert "there is no file or folder" in refused(path="nowhere")
    Path("odd.txt").write_text("words")
    assert "its name should end in .csv" in refused(path="odd.txt")
    Path("broken.parquet").write_text("words")
    assert "datasets cannot read broken.parquet" in refused(path="broken.parquet")
    unknown = table().remove_columns("label").add_column("label", [-1] * ROWS)
    unknown = unknown.cast_column("label", datasets.ClassLabel(names=["lo", "mid", "hi"]))
    datasets.DatasetDict(train=rows, test=unknown).save_to_disk("unknown")
    assert "write data.test_split: none" in refused(path="unknown", inputs="size")


def test_without_a_network_a_name_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'some/set' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    message = refused(name="some/set")
    assert "cannot get some/set from the Hub (Couldn't reach" in message
    assert "name the folder by data.path" in message
    with pytest.raises(ValueError, match="give one of path"):
        HuggingFace.model_validate({"kind": "huggingface"})
