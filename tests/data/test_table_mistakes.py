"""What is wrong with a table is said in one line, with exit code 2, before anything is trained."""

from __future__ import annotations

import gzip
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from command_line import Ended

from nnopt.errors import DataError
from nnopt.spec.data.union import DATA

pytestmark = pytest.mark.usefixtures("undrawn")

# 24 rows: the label is 0 and 1 in turn, the place grows from 1, every person has three rows
GOOD = [["age", "town", "person", "when", "price", "flag", "label"]]
GOOD += [
    [str(20 + row), "NW"[row % 2], f"p{row // 3}", f"2024-01-{row + 1:02}", str(row * 1.5), str(row % 2), "yn"[row % 2]]
    for row in range(24)
]


def changed(*cells: tuple[int, str, str]) -> str:
    """GOOD as a CSV with other cells: row from 1 (0: the names), column, value."""
    rows = [list(row) for row in GOOD]
    for row, column, value in cells:
        rows[row][GOOD[0].index(column)] = value
    return "".join(f"{','.join(row)}\n" for row in rows)


def without_rows(rows: list[int]) -> str:
    return "".join(f"{','.join(row)}\n" for number, row in enumerate(GOOD) if number not in rows)


def everywhere(column: str, value: str) -> str:
    return changed(*((row, column, value) for row in range(1, 25)))


NUMBERED = {"task": "regression", "target": "price"}
LABELLED = {"task": "multilabel", "target": ["flag"]}
IN_TIME = {"split": {"kind": "time", "column": "when"}}
MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no such target": (
        changed(),
        {"target": "lable"},
        "data.target: t.csv has no column 'lable'; did you mean 'label'?",
    ),
    "no such column": (changed(), {"columns": ["age", "twn"]}, "data.columns: t.csv has no column 'twn'; did you mean"),
    "nothing alike": (
        changed(),
        {"leave_out": ["zzz"]},
        "no column 'zzz'; it has age, town, person, when, price, flag, label",
    ),
    "no such group": (
        changed(),
        {"split": {"kind": "group", "column": "persn"}},
        "data.split.column: t.csv has no column 'persn'",
    ),
    "another delimiter": (
        changed().replace(",", ";"),
        {},
        "one column alone, 'age;town;person;when;price;flag;label': is data.delimiter",
    ),
    "one class": (everywhere("label", "y"), {}, "column 'label' of t.csv has one class alone, 'y'"),
    "numbers as classes": (
        changed(),
        {"target": "price"},
        "column 'price' of t.csv has 24 different numbers: write task: regression",
    ),
    "names as classes": (changed(), {"target": "when"}, "has 24 different words: are they classes, or names?"),
    "no target": (
        changed((3, "label", ""), (9, "label", "")),
        {},
        "row 3 of t.csv has no target: its cell in column 'label' is empty, as are 1 more",
    ),
    "an empty target": (everywhere("label", ""), {}, "data.target: column 'label' of t.csv is empty"),
    "a word among numbers": (
        changed((17, "age", "old")),
        {},
        "row 17 of t.csv: 'old' in column 'age' is no number; correct it",
    ),
    "an infinite number": (changed((5, "age", "inf")), {}, "row 5 of t.csv: inf in column 'age' is no finite number"),
    "words to foretell": (
        changed((4, "price", "dear")),
        NUMBERED,
        "row 4 of t.csv: 'dear' in column 'price' is no number",
    ),
    "a constant to foretell": (
        everywhere("price", "3"),
        NUMBERED,
        "column 'price' of t.csv has the same number, 3, in every row",
    ),
    "no label": (changed((2, "flag", "2")), LABELLED, "row 2 of t.csv: 2 in column 'flag' is no label"),
    "a label of one value": (everywhere("flag", "1"), LABELLED, "label 'flag' of t.csv is 1 in every row"),
    "a question of words": (
        changed(),
        {"task": "multitask", "target": ["price", "label"]},
        "or name 'label' in data.categorical to ask for a class",
    ),
    "an empty file": ("", {}, "t.csv is empty"),
    "blank lines": ("\n\n", {}, "t.csv is empty"),
    "names alone": (changed().splitlines()[0], {}, "t.csv has the names of columns and no row"),
    "a name twice": (changed((0, "town", "age")), {}, "t.csv has two columns of the name 'age'"),
    "no name": (
        changed((0, "town", "")),
        {},
        "column 2 of t.csv has no name: name it, or leave it out by data.leave_out: ['']",
    ),
    "too many cells": (
        changed((7, "town", "N,W")),
        {},
        "cannot read t.csv: line 8 has 8 cells, not 7 (a ',' within a word",
    ),
    "too many cells everywhere": (
        changed().replace("\n", ",1\n").replace("label,1", "label"),
        {},
        "every line has more cells than",
    ),
    "an open quote": (changed((7, "town", '"N')), {}, "cannot read t.csv: EOF inside string"),
    "another encoding": (changed((7, "town", "Köln")), {"encoding": "ascii"}, "t.csv is no ascii text"),
    "no date": (changed((6, "when", "soon")), IN_TIME, "row 6 of t.csv: 'soon' in column 'when' is neither"),
    "no time": (changed((6, "when", "")), IN_TIME, "row 6 of t.csv has no time: its cell in 'when' is"),
    "one time": (everywhere("when", "1"), IN_TIME, "have one and the same time"),
    "two groups": (changed(), {"split": {"kind": "group", "column": "flag"}}, "2 groups are too few for 3 parts"),
    "nothing to learn from": (changed(), {"leave_out": GOOD[0][:-1]}, "t.csv has no column beside age, flag, label"),
    "an empty column": (
        everywhere("age", ""),
        {},
        "column 'age' of t.csv is empty in every training row: leave it out",
    ),
    "too few names": (changed(), {"names": ["a", "label"]}, "data.names: there are 2 names, but t.csv has 7 columns"),
    "no file": (changed(), {"path": "u.csv"}, "data.path: there is no file or folder u.csv"),
    "a folder": (changed(), {"path": "."}, "is no file: a table is read from one file"),
    "no such file of test rows": (
        changed(),
        {"test_path": "u.csv"},
        "data.test_path: there is no file or folder u.csv",
    ),
    "no Parquet": ("", {"path": "t.parquet"}, "cannot read t.parquet: Parquet magic bytes not found"),
    "two targets of one class": (
        changed(),
        {"target": ["label", "flag"]},
        "data.target: classification has one target column",
    ),
    "a number for a target": (changed(), {"target": 3}, "data.target: should be the name of a column, or a list of"),
    "two characters": (changed(), {"delimiter": "\\t"}, "data.delimiter: should be one character, a tab in double"),
    "one question": (changed(), {"task": "multitask"}, "data.target: several questions have a column each: name at"),
    "a target as input": (changed(), {"columns": ["label"]}, "data.columns: 'label' is the target"),
    "a column twice": (changed(), {"columns": ["age", "age"]}, "data.columns: 'age' is there twice"),
    "a class of a regression": (
        changed(),
        {**NUMBERED, "categorical": ["price"]},
        "data.categorical: 'price' is the target of a regression",
    ),
    "folds in time": (changed(), {"folds": 3, **IN_TIME}, "data.folds: folds are drawn at random"),
    "no such encoding": (changed(), {"encoding": "utf-9"}, "data.encoding: no encoding of text is called 'utf-9'"),
    "no such split": (
        changed(),
        {"split": {"kind": "times"}},
        "data.split: no split is called 'times'; did you mean 'time'?",
    ),
}


# Those that are found without the file, and one of each kind that is found in it.
BY_PROGRAM = {
    *("two targets of one class", "a target as input", "a column twice", "a class of a regression", "folds in time"),
    *("a number for a target", "two characters", "one question"),
    *("no such encoding", "no such split", "no such column", "one class", "a word among numbers", "an empty file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(
    mistake: str, cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    text, keys, message = MISTAKES[mistake]
    Path("t.csv").write_text(text)
    Path("t.parquet").write_text("PAR0 nothing of this kind")
    data = {"kind": "csv", "path": "t.csv", "target": "label", **keys}
    if str(data["path"]).endswith("parquet"):
        data["kind"] = "parquet"
    if mistake in BY_PROGRAM:
        (line,) = cli("train", write_spec({"data": data}), "--quiet", code=2).errors
        assert not list(runs.rglob("metrics.csv"))
    else:
        with pytest.raises(DataError) as found:
            DATA.find(data["kind"]).model_validate(data).load()
        (line,) = str(found.value).splitlines()
    assert message in line.replace(f"{Path.cwd()}/", "")


def test_too_many_words_and_how_to_take_them_all(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    rows = "".join(f"name {row % 150},{row % 2}\n" for row in range(300))
    Path("t.csv").write_text(f"who,label\n{rows}")
    data: dict[str, Any] = {"kind": "csv", "path": "t.csv", "target": "label"}
    (line,) = cli("train", write_spec({"data": data}), "--quiet", code=2).errors
    assert "column 'who' of" in line
    assert "has 150 different words, such as 'name 0': name it in data.leave_out, or in data.categorical" in line
    data["categorical"] = ["who"]
    cli("train", write_spec({"data": data, "budget": {"steps": 2}}), "--quiet")


def test_a_group_of_both_files_is_named(cli: Callable[..., Ended], write_spec: Callable[..., Path]) -> None:
    Path("t.csv").write_text(without_rows([22, 23, 24]))
    Path("test.csv").write_text(without_rows(list(range(1, 21))))
    data = {"kind": "csv", "path": "t.csv", "target": "label", "test_path": "test.csv"}
    data["split"] = {"kind": "group", "column": "person"}
    (line,) = cli("train", write_spec({"data": data}), "--quiet", code=2).errors
    assert line.endswith("data.split: group 'p6' of column 'person' is in data.test_path as well")


def test_a_row_of_the_second_file_is_counted_there(cli: Callable[..., Ended], write_spec: Callable[..., Path]) -> None:
    Path("t.csv").write_text(changed())
    Path("test.csv").write_text(changed((3, "label", "")))
    data = {"kind": "csv", "path": "t.csv", "target": "label", "test_path": "test.csv"}
    (line,) = cli("train", write_spec({"data": data}), "--quiet", code=2).errors
    assert f"row 3 of {Path.cwd() / 'test.csv'} has no target" in line


def test_a_file_that_may_not_be_read(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("t.csv").write_text(changed())
    usual = Path.open

    def refusing(path: Path, *arguments: Any, **keys: Any) -> Any:
        if path.name == "t.csv":
            raise PermissionError(13, "Permission denied")
        return usual(path, *arguments, **keys)

    monkeypatch.setattr(Path, "open", refusing)
    (line,) = cli("train", write_spec({"data": {"kind": "csv", "path": "t.csv", "target": "label"}}), code=2).errors
    assert line.endswith(f"cannot read {Path.cwd() / 't.csv'}: Permission denied")


def test_parquet_without_pyarrow_names_what_to_install(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas.DataFrame({"x": [1, 2], "label": ["a", "b"]}).to_parquet("t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    spec = write_spec({"data": {"kind": "parquet", "path": "t.parquet", "target": "label"}})
    (line,) = cli("train", spec, "--quiet", code=2).errors
    assert line.endswith("reading Parquet needs pyarrow: pip install 'nnopt[parquet]'")


def test_columns_of_parquet_that_are_neither_numbers_nor_words(
    cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    frame = pandas.DataFrame({"x": range(24), "label": ["a", "b"] * 12, "list": [[1, 2]] * 24})
    frame.to_parquet("t.parquet")
    data: dict[str, Any] = {"kind": "parquet", "path": "t.parquet", "target": "label"}
    (line,) = cli("train", write_spec({"data": data}), "--quiet", code=2).errors
    assert "column 'list' of" in line
    assert line.endswith("holds neither numbers nor words: name it in data.leave_out")


def test_a_packed_file_that_ends_too_early(cli: Callable[..., Ended], write_spec: Callable[..., Path]) -> None:
    Path("t.csv").write_text(changed() * 50)
    packed = gzip.compress(Path("t.csv").read_bytes())
    Path("t.csv.gz").write_bytes(packed[: len(packed) // 2])
    shutil.copy("t.csv", "u.csv.gz")
    for name, reason in (("t.csv.gz", "ended before the end-of-stream marker"), ("u.csv.gz", "Not a gzipped file")):
        (line,) = cli("train", write_spec({"data": {"kind": "csv", "path": name, "target": "label"}}), code=2).errors
        assert f"cannot read {Path.cwd() / name}: " in line
        assert reason in line
