from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from compare_runs import make_run
from hypothesis import given
from hypothesis import strategies as st

from nnopt.errors import RunsFolderError
from nnopt.store.record import RunRecord, read_columns

TABLE = "step,loss,lr\n10,0.5,0.1\n20,,0.1\n30,0.25,0.1\n"


def test_reads_what_names_a_run_and_its_curve(tmp_path: Path) -> None:
    record = make_run(tmp_path, "adam", 2, [0.5, None, 0.75])
    assert (record.experiment, record.variant, record.trial, record.seed) == ("digits", "adam", None, 2)
    assert record.name == "digits/adam/seed-2"
    assert record.curve()["val_accuracy"] == [0.5, None, 0.75]
    assert record.curve()["step"] == [10, 20, 30]
    assert record.steps() == {}


def test_a_trial_is_known_by_its_folder_where_the_summary_says_nothing(tmp_path: Path) -> None:
    record = make_run(tmp_path, "adam", 0, [0.5])
    summary = {key: value for key, value in record.summary.items() if key != "trial"}
    for parent, trial in (("trial-7", 7), ("trial-7-1a2b", 7), ("adam", None)):
        folder = tmp_path / "other" / parent / "seed-0"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(summary))
        assert RunRecord.read(folder).trial == trial


def test_a_variant_called_like_a_trial_is_none(tmp_path: Path) -> None:
    record = make_run(tmp_path, "trial-3", 0, [0.5])
    summary = {key: value for key, value in record.summary.items() if key != "trial"}
    (record.folder / "summary.json").write_text(json.dumps(summary))
    assert RunRecord.read(record.folder).trial is None


@given(st.integers(min_value=0, max_value=len(TABLE)))
def test_a_file_cut_anywhere_gives_the_rows_that_were_whole(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.csv"
        path.write_text(TABLE[:cut])
        columns = read_columns(path)
    whole = TABLE[:cut].count("\n") - 1
    if whole < 0:
        assert columns == {}
    else:
        assert columns == {
            "step": [10, 20, 30][:whole],
            "loss": [0.5, None, 0.25][:whole],
            "lr": [0.1] * whole,
        }


@pytest.mark.parametrize("tail", ["40,0.2\n", "40,0.2,0.1,7\n", "40,0.\0\0,0.1\n", "\0\0\0\0\n", "\n"])
def test_a_damaged_last_line_is_dropped(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(TABLE + tail)
    assert read_columns(path)["step"] == [10, 20, 30]


@pytest.mark.parametrize(
    ("row", "words"), [("40,0.2\n", "line 5 has other columns"), ("40,x,0.1\n", "line 5 .*'40,x,0.1'")]
)
def test_damage_before_the_last_line_is_an_error(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(TABLE + row + "50,0.1,0.1\n")
    with pytest.raises(RunsFolderError, match=words):
        read_columns(path)


def test_numbers_are_read_as_pandas_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,a,b\n1,1e-3,0.1\n2,,3.0000000000000004\n3,-2,\n")
    table = pd.read_csv(path)
    for name, values in read_columns(path).items():
        assert [value for value in values if value is not None] == table[name].dropna().to_list()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "should hold a mapping"),
        ("{}", "no key 'experiment'"),
        ('{"experiment": "a", "variant": "b", "seed": "x", "status": "done"}', "no summary of a run"),
        ('{"schema": 99}', "take a newer one"),
    ],
)
def test_a_damaged_summary_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(RunsFolderError, match=words) as raised:
        RunRecord.read(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunsFolderError, match="holds no run"):
        RunRecord.read(tmp_path / "nothing")
