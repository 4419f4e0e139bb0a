"""Tables: what a model sees of a column, against scikit-learn's own preprocessing, and what is asked by targets."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nnopt.data.dataset import Dataset, Part
from nnopt.data.encoding import restore
from nnopt.data.sources.table_columns import Column
from nnopt.data.sources.table_files import Format
from nnopt.data.splits import split_rows
from nnopt.data.table_layout import Feature, fitted
from nnopt.data.task import Question
from nnopt.errors import DataError
from nnopt.spec.data.tables import LOADERS, Csv, Parquet, Sklearn

WINE = Path(__file__).parents[2] / "configs" / "data" / "wine.csv"
NUMBERS = ["alcohol", "malic_acid", "ash", "alkalinity", "magnesium", "phenols", "hue", "proline"]


def wine(**keys: Any) -> Csv:
    """The table of wines in configs/."""
    return Csv(**{"kind": "csv", "path": str(WINE), "target": "grape", **keys})


def inputs_of(data: Dataset, part: str = "train") -> np.ndarray:
    samples = getattr(data, part)
    assert isinstance(samples, Part)
    return samples.inputs.numpy()


def table(folder: Path, text: str, **keys: Any) -> Dataset:
    """A table of the lines of `text`, loaded."""
    path = folder / "table.csv"
    path.write_text(text)
    settings = {"kind": "csv", "path": str(path), "target": "y", "validation": 2, "test": 2, "normalise": "none"}
    return Csv(**{**settings, **keys}).load()


def alternating(n: int = 12, **columns: list[str]) -> str:
    """Lines of a CSV with x from 0 and y alternating between a and b, and `columns` repeated to n rows."""
    rows = [
        ",".join([str(row), "ab"[row % 2], *(cells[row % len(cells)] for cells in columns.values())])
        for row in range(n)
    ]
    return "\n".join([",".join(["x", "y", *columns]), *rows]) + "\n"


def test_inputs_are_those_of_scikit_learn_fitted_on_the_training_rows() -> None:
    data = wine(split_seed=4).load()
    frame = pandas.read_csv(WINE)
    labels = frame["grape"].astype("category").cat.codes.to_numpy().astype(np.int64)
    rows = split_rows(len(frame), labels, 0.15, 0.2, 4)
    train = frame.iloc[rows.train]
    gaps = [name for name in NUMBERS if train[name].isna().any()]
    assert gaps == ["malic_acid", "magnesium"]
    words = frame["colour"].fillna("zz").to_numpy(dtype=object).reshape(-1, 1)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    numbers.fit(train[NUMBERS])
    one_hot = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(words[rows.train])
    indicators = make_column_transformer((StandardScaler(with_mean=False, with_std=False), gaps))
    indicators.fit(frame.isna().astype(float).iloc[rows.train])
    scaled = dict(zip(NUMBERS, numbers.transform(frame[NUMBERS]).T, strict=True))
    empty = dict(zip(gaps, indicators.transform(frame.isna().astype(float)).T, strict=True))
    expected = []
    for name in frame.columns.drop("grape"):
        if name == "colour":
            expected += list(one_hot.transform(words).T)
        else:
            expected += [scaled[name], *([empty[name]] if name in gaps else [])]
    for part in ("train", "validation", "test"):
        found = np.stack(expected, 1)[getattr(rows, part)]
        np.testing.assert_allclose(inputs_of(data, part), found, rtol=1e-5, atol=1e-6)
    assert data.classes == ("Barbera", "Barolo", "Grignolino")
    assert data.train.gather(None)[1].tolist() == labels[rows.train].tolist()
    assert [note.partition(".")[0] for note in data.notes] == [
        "Empty cells: malic_acid (9), magnesium (14), colour (7)"
    ]


def test_what_is_only_in_other_rows_changes_nothing_that_is_fitted(tmp_path: Path) -> None:
    words = ["red", "blue"]
    usual = alternating(20, colour=words)
    rows = split_rows(20, np.arange(20) % 2, 2, 2, 0)
    lines = usual.splitlines()
    for row in (*rows.validation, *rows.test):
        lines[row + 1] = f"{1000 * row},{'ab'[row % 2]},green"
    one, other = table(tmp_path, usual, normalise="standard"), table(tmp_path, "\n".join(lines), normalise="standard")
    assert torch.equal(one.train.gather(None)[0], other.train.gather(None)[0])
    assert inputs_of(other, "test")[:, 1:].tolist() == [[0, 0], [0, 0]]
    assert (inputs_of(other, "test")[:, 0] > 50).all()


@given(st.data())
def test_every_category_has_an_input_and_gaps_are_told_apart(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 30))
    cells = data.draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=n, max_size=n))
    numbers = data.draw(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=n, max_size=n))
    train = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    place = {"a": 0.0, "b": 1.0, "c": 2.0, None: np.nan}
    columns = [
        Column("word", np.array([place[cell] for cell in cells]), ("a", "b", "c"), "table"),
        Column("number", np.array([np.nan if value is None else value for value in numbers]), None, "table"),
    ]
    seen_words, seen = {cells[row] for row in train}, [numbers[row] for row in train]
    if seen_words == {None} or all(value is None for value in seen):
        with pytest.raises(DataError, match="is empty in every training row: leave it out"):
            fitted(columns, train, Format())
        return
    layout = fitted(columns, train, Format())
    found = layout.encode({column.name: column for column in columns})
    names = [name for feature in layout.features for name in feature.inputs]
    assert found.shape == (n, len(names)) == (n, len(layout.unscaled))
    median = np.median([value for value in seen if value is not None])
    for row in range(n):
        values = dict(zip(names, found[row], strict=True))
        for word in "abc":
            assert values.pop(f"word = {word}", None) == (float(cells[row] == word) if word in seen_words else None)
        assert values.pop("number") == (median if numbers[row] is None else numbers[row])
        assert values.pop("word is empty", None) == (float(cells[row] is None) if None in seen_words else None)
        assert values.pop("number is empty", None) == (float(numbers[row] is None) if None in seen else None)
        assert values == {}


def test_how_a_file_is_written_changes_nothing(tmp_path: Path) -> None:
    frame = pandas.read_csv(WINE)
    expected = wine().load()
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(WINE.read_bytes()))
    frame.to_csv(tmp_path / "german.csv", sep=";", decimal=",", encoding="utf-16", na_rep="?", index=False)
    frame.to_csv(tmp_path / "bare.csv", header=False, index=False)
    (tmp_path / "marked.csv").write_text(WINE.read_text().replace(",", ", "), encoding="utf-8-sig")
    frame.set_index(2 * frame.index).to_parquet(tmp_path / "wine.parquet")  # with a column of the index
    german = {"delimiter": ";", "decimal": ",", "encoding": "utf-16", "missing": ["?"]}
    tables = {"packed.csv.gz": {}, "german.csv": german, "bare.csv": {"names": list(frame.columns)}, "marked.csv": {}}
    loaded = [wine(path=str(tmp_path / name), **keys).load() for name, keys in tables.items()]
    loaded.append(Parquet(kind="parquet", path=str(tmp_path / "wine.parquet"), target="grape").load())
    for data in loaded:
        assert data.classes == expected.classes
        for part in ("train", "validation", "test"):
            for one, other in zip(getattr(data, part).gather(None), getattr(expected, part).gather(None), strict=True):
                assert torch.equal(one, other)


def test_a_column_of_many_blocks_is_read_as_it_was_written(tmp_path: Path) -> None:
    """pandas reads long files in blocks, and takes 01 for a number in those that hold nothing else."""
    n = 120_000
    lines = "\n".join(f"{'01' if row < n - 5 else 'A7'},{row % 2},{row}" for row in range(n))
    (tmp_path / "long.csv").write_text(f"code,y,x\n{lines}\n")
    keys = {"kind": "csv", "path": str(tmp_path / "long.csv"), "target": "y", "leave_out": ["x"]}
    data = Csv(**keys, categorical=["code"]).load()
    assert data.encoding is not None
    assert data.encoding.record()["layout"]["features"][0]["categories"] == ("01", "A7")
    with pytest.raises(DataError, match=r"row 119996 of .*: 'A7' in column 'code' is no number"):
        Csv(**keys).load()


def test_a_table_of_test_rows(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(alternating(6, colour=["green", "red"]).replace("3,b,red", "3,b,"))
    path = str(tmp_path / "test.csv")
    data = table(tmp_path, alternating(20, colour=["red", "blue"]), test_path=path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 2, 6]
    assert inputs_of(data, "test").tolist() == [[row, 0, float(row in (1, 5))] for row in range(6)]
    assert data.test.gather(None)[1].tolist() == [0, 1, 0, 1, 0, 1]


def test_several_targets(tmp_path: Path) -> None:
    text = alternating(12, y1=["1.5", "2"], y2=["7", "8", "10", "9"], odd=["0", "1"], late=["false", "true", "true"])
    numbers = table(tmp_path, text, task="regression", target=["y1", "y2"], leave_out=["y"])
    assert (numbers.task, numbers.outputs, numbers.input_shape) == ("regression", 2, (3,))
    _, targets = numbers.test.gather(None)
    back = targets * numbers.target_scale + numbers.target_mean
    assert set(np.round(back[:, 1].tolist(), 4)) <= {7, 8, 9, 10}
    labels = table(tmp_path, text, task="multilabel", target=["odd", "late"], columns=["x"])
    assert (labels.task, labels.classes, labels.outputs) == ("multilabel", ("odd", "late"), 2)
    inputs, targets = labels.train.gather(None)
    assert targets.tolist() == [[x % 2, float(x % 3 > 0)] for x in inputs[:, 0].tolist()]
    keys = {"task": "multitask", "target": ["y", "y2", "y1"], "columns": ["x"], "categorical": ["y", "y2"]}
    several = table(tmp_path, text, **keys)
    assert several.questions == (Question("y", ("a", "b")), Question("y2", ("7", "8", "9", "10")), Question("y1"))
    assert (several.task, several.outputs) == ("multitask", 7)
    inputs, targets = several.train.gather(None)
    for x, (y, y2, y1) in zip(inputs[:, 0].tolist(), targets.tolist(), strict=True):
        assert (y, y2) == (x % 2, [0, 1, 3, 2][int(x % 4)])
        assert y1 * several.target_scale[2] + several.target_mean[2] == pytest.approx([1.5, 2][int(x % 2)])


def test_classes_that_are_numbers_stand_by_size_however_they_are_written(tmp_path: Path) -> None:
    data = table(tmp_path, alternating(24, size=["10", "9", "9.0", "2"]), target="size", leave_out=["y"])
    assert data.classes == ("2", "9", "10")


@pytest.mark.parametrize(
    "name", [name for name in LOADERS if name not in ("california_housing", "covtype", "olivetti_faces")]
)
def test_what_scikit_learn_loads(name: Any) -> None:
    from sklearn import datasets

    data = Sklearn(kind="sklearn", name=name, normalise="none").load()
    found = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    everything = np.concatenate([inputs_of(data, part) for part in ("train", "validation", "test")])
    assert sorted(everything.tolist()) == sorted(found.data.astype(np.float32).tolist())
    assert data.task == LOADERS[name]
    if data.task == "classification":
        assert set(data.classes) == set(map(str, found.target_names))
    else:
        assert data.outputs == found.target.reshape(len(found.data), -1).shape[1]


def test_what_scikit_learn_would_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn import datasets

    def refuse(data_home: str, n_retries: int) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "fetch_covtype", refuse)
    settings = Sklearn(kind="sklearn", name="covtype", root=str(tmp_path))
    missing = tmp_path / "scikit_learn" / "covertype" / "samples_py3"
    assert settings.available() == f"covtype of scikit-learn is not at hand: {missing} is missing"
    with pytest.raises(DataError, match=r"cannot download covtype \(no route to host\): put .*samples_py3, into"):
        settings.load()


def read_new(data: Dataset, path: Path) -> list[list[float]]:
    """A new file as the recorded encoding of a data set reads it."""
    assert data.encoding is not None
    return restore(data.encoding.record()).read(path).inputs.tolist()


def test_a_new_table_is_read_as_the_training_rows_were(tmp_path: Path) -> None:
    data = wine(validation=40, test=60).load()
    labels = pandas.read_csv(WINE)["grape"].astype("category").cat.codes.to_numpy().astype(np.int64)
    rows = split_rows(178, labels, 40, 60, 0)
    found = read_new(data, WINE)
    assert np.array_equal(np.asarray(found, dtype=np.float32)[rows.test], inputs_of(data, "test"))
    new = pandas.read_csv(WINE).drop(columns="grape").assign(more=1)[::-1]
    new.to_parquet(tmp_path / "new.parquet", index=False)
    assert read_new(data, tmp_path / "new.parquet") == found[::-1]
    new.assign(colour="purple").to_csv(tmp_path / "new.csv", index=False)
    assert data.encoding is not None
    names = [name for feature in data.encoding.record()["layout"]["features"] for name in Feature(**feature).inputs]
    colours = [place for place, name in enumerate(names) if name.startswith("colour = ")]
    unknown = np.asarray(read_new(data, tmp_path / "new.csv"))
    assert len(colours) == 3
    assert (unknown[:, colours] == 0).all()
    others = [place for place, name in enumerate(names) if not name.startswith("colour")]
    assert (unknown[:, others] == np.asarray(found[::-1])[:, others]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n1\n", r"new.csv lacks the column 'colour' of the training data"),
        (
            "x,colour\n1,red\nmany,blue\n",
            r"row 2 of .*: 'many' in column 'x' is no number; the training data has",
        ),
        ("x,colour\n", "has the names of columns and no row"),
    ],
)
def test_a_new_table_that_does_not_fit(text: str, message: str, tmp_path: Path) -> None:
    data = table(tmp_path, alternating(12, colour=["red", "blue"]))
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_new(data, tmp_path / "new.csv")


@pytest.mark.parametrize("text", ["0,a,red\n", "y,colour,x\na,red,0\n", "0,red\n"])
def test_new_rows_for_a_table_without_a_line_of_names(text: str, tmp_path: Path) -> None:
    rows = alternating(12, colour=["red", "blue"]).partition("\n")[2]
    data = table(tmp_path, rows, names=["x", "y", "colour"])
    (tmp_path / "new.csv").write_text(text)
    assert read_new(data, tmp_path / "new.csv") == [[0, 0, 1]]


def test_a_path_is_looked_for_here_and_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, rows in ((here, 12), (there, 20)):
        folder.mkdir()
        (folder / "both.csv").write_text(alternating(rows))
    (there / "one.csv").write_text(alternating(16))
    monkeypatch.chdir(here)
    monkeypatch.setenv("NNOPT_DATA_DIR", str(there))

    def rows_in(path: str) -> int:
        data = Csv(kind="csv", path=path, target="y", validation=2, test=2).load()
        return len(data.train) + 4

    assert [rows_in("both.csv"), rows_in("one.csv")] == [12, 16]
    absent = Csv(kind="csv", path="none.csv", target="y")
    places = f"{here / 'none.csv'} and {there / 'none.csv'}"
    assert absent.available() == f"data.path: there is no file or folder none.csv (looked in {places})"
