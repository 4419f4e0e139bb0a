"""`nnopt import` of CSV files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnopt.errors import NnoptError
from nnopt.importing.csv_files import RUN_COLUMNS, SEED_COLUMNS, VARIANT_COLUMNS
from nnopt.importing.imports import Wish, import_runs
from nnopt.store.find import run_folders
from nnopt.store.record import RunRecord

Cli = Callable[..., Ended]


def record_in(runs: Path, name: str) -> RunRecord:
    return RunRecord.read(runs / name)


def test_one_run_a_file(cli: Cli, runs: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for seed in range(3):
        (logs / f"adam_seed{seed}.csv").write_text(f"step,eval_loss,acc/val,elapsed\n10,2.5,0.1,1\n20,1.{seed},0.5,2\n")
    (logs / "sgd.csv").write_text("iteration;val/acc\n10;0.2\n20;0.4\n")
    ended = cli("import", logs)
    assert "adam_seed0" in ended.stdout
    assert "columns: eval_loss is val_loss, acc/val is val_accuracy, elapsed is train_seconds" in ended.stdout
    adam = record_in(runs, "logs/adam/seed-1")
    assert adam.curve() == {
        "step": [10, 20],
        "train_seconds": [1, 2],
        "val_loss": [2.5, 1.1],
        "val_accuracy": [0.1, 0.5],
    }
    assert adam.summary["imported"]["clock"] == "given"
    assert (adam.summary["select"], adam.summary["task"], adam.seed) == ("val_accuracy", "classification", 1)
    assert adam.summary["metrics"]["val_loss"] == {"last": 1.1, "best": 1.1, "best_step": 20}
    sgd = record_in(runs, "logs/sgd/seed-0")
    assert sgd.curve()["train_seconds"] == [0, 0]
    assert sgd.summary["imported"]["clock"] == "none"
    assert any("train_seconds is 0" in line for line in ended.errors)
    assert {record_in(runs, f"logs/adam/seed-{seed}").spec_hash for seed in range(3)} == {adam.spec_hash}
    assert adam.spec_hash != sgd.spec_hash
    compared = json.loads(cli("compare", "logs", "--json").stdout)
    assert {row["label"]: row["last_mean"] for row in compared["rows"]} == {"adam": 0.5, "sgd": 0.4}
    cli("show", "logs/sgd/seed-0", "--spec")
    cli("list")


def test_a_long_table(cli: Cli, runs: Path, tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    table.write_text(
        "method,seed,step,lr,val_loss,gpu\n"
        "adam,0,20,0.1,1.0,a\nadam,0,10,0.1,2.0,a\nadam,5,10,0.1,3.0,b\nsgd,0,10,0.2,,a\nsgd,0,20,0.2,nan,a\n"
    )
    ended = cli("import", table)
    assert sorted(path.relative_to(runs).as_posix() for path in run_folders(runs)) == [
        "results/adam/seed-0",
        "results/adam/seed-5",
        "results/sgd/seed-0",
    ]
    assert record_in(runs, "results/adam/seed-0").curve()["val_loss"] == [2.0, 1.0], "in the order of the steps"
    assert record_in(runs, "results/adam/seed-0").summary["spec"] == {"gpu": "a"}
    assert "adam: its runs differ in gpu; --variant '{gpu}' would make variants of them" in ended.errors
    sgd = record_in(runs, "results/sgd/seed-0")
    assert (sgd.status, sgd.summary["reason"]) == ("diverged", "val_loss is nan at step 20")
    assert sgd.curve() == {"step": [10, 20], "train_seconds": [0, 0], "lr": [0.2, 0.2], "val_loss": [None, None]}


def test_a_chart_that_wandb_exported(cli: Cli, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "wandb.csv").write_text(
        '"Step","adam-seed-1 - val/loss","adam-seed-1 - val/loss__MIN","adam-seed-1 - val/loss__MAX","sgd - val/loss"\n'
        '10,"2.0","2.0","2.0",\n20,"1.5","1.5","1.5","3"\n'
    )
    cli("import", tmp_path / "wandb.csv")
    assert record_in(runs, "wandb/adam/seed-1").curve()["val_loss"] == [2.0, 1.5]
    assert record_in(runs, "wandb/sgd/seed-0").curve() == {"step": [20], "train_seconds": [0], "val_loss": [3.0]}


def test_a_scalar_that_tensorboard_exported(cli: Cli, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("Wall time,Step,Value\n1700000000.5,1,3.0\n1700000002.5,2,2.0\n")
    cli("import", tmp_path / "one.csv", "--rename", "Value=val_loss", "--experiment", "e", "--variant", "v")
    record = record_in(runs, "e/v/seed-0")
    assert record.curve() == {"step": [1, 2], "train_seconds": [0, 2], "val_loss": [3.0, 2.0]}
    assert record.summary["imported"]["clock"] == "wall"


def test_a_step_that_comes_twice_and_cells_that_are_missing(cli: Cli, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",step,seconds,val_loss,train_loss\n0,2,5,1,\n1,1,3,4,7\n2,2,6,2,\n3,3,,,8\n")
    ended = cli("import", tmp_path / "a.csv", "--experiment", "e")
    assert record_in(runs, "e/a/seed-0").curve() == {
        "step": [1, 2, 3],
        "train_seconds": [3, 6, 6],
        "train_loss": [7, None, 8],
        "val_loss": [4, 2, None],
    }
    assert "2 values came again at a step that had one: the last one counts" in ended.errors


def test_the_same_again_changes_nothing_and_more_of_it_is_taken_in(cli: Cli, runs: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("run,step,val_loss\na,1,2\nb,1,3\n")

    def states(*more: object) -> list[tuple[str, str]]:
        found = json.loads(cli("import", table, "--variant", "v", "--json", *more).stdout)
        return [(Path(one["folder"]).name, one["state"]) for one in found]

    assert states() == [("seed-0", "new"), ("seed-1", "new")]
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.csv")}
    assert states() == [("seed-0", "unchanged"), ("seed-1", "unchanged")]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.csv")} == before
    table.write_text("run,step,val_loss\nnew,1,9\nb,1,3\nb,2,1\n")
    assert states() == [("seed-2", "new"), ("seed-1", "updated")]
    assert record_in(runs, "t/v/seed-1").curve()["val_loss"] == [3, 1]
    assert record_in(runs, "t/v/seed-0").curve()["val_loss"] == [2], "what is gone from the source stays"


def test_another_run_is_never_overwritten(
    cli: Cli, runs: Path, tmp_path: Path, write_spec: Callable[..., Path]
) -> None:
    cli("train", write_spec())
    trained = (runs / "small/sgd/seed-0/metrics.csv").read_text()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text(f"seed,step,val_loss\n0,1,{len(name)}\n")
        ended = cli("import", tmp_path / name, "--experiment", "small", "--variant", "sgd")
        assert any("seed-0 is another run" in line for line in ended.errors)
    assert (runs / "small/sgd/seed-0/metrics.csv").read_text() == trained
    assert len(list((runs / "small/sgd").glob("seed-0-*"))) == 2
    assert cli("train", write_spec()).stderr.count("done before, skipped") == 1
    cli("compare", "small")


def test_two_sources_of_one_variant_get_seeds_of_their_own(cli: Cli, runs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("step,val_loss\n1,1\n")
        cli("import", tmp_path / f"{name}.csv", "--experiment", "e", "--variant", "v")
    assert sorted(path.name for path in (runs / "e/v").iterdir()) == ["seed-0", "seed-1"]


def test_no_name_leads_out_of_the_runs_folder(cli: Cli, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("variant,step,val_loss\n../../../out,1,2\n/etc/x,1,2\n..,1,2\n")
    cli("import", tmp_path / "t.csv", "--experiment", "../../up")
    assert sorted(path.relative_to(runs).as_posix() for path in run_folders(runs)) == [
        "up/etc-x/seed-0",
        "up/out/seed-0",
        "up/run/seed-0",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "t.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty: it has no rows"),
        ("step,val_loss\n", "t.csv is empty: it has no rows"),
        ("epoch,val_loss\n1,2\n", "has no column of steps: --rename COLUMN=step names it; there are epoch, val_loss"),
        ("step,val_loss\n1,2,3\n", "row 2 has 3 cells, and the header 2"),
        ("step,a,a\n1,2,3\n", "has two columns 'a'"),
        ("step,val_loss\n1,2\n2,abc\n", "row 3: val_loss is 'abc', which is no number"),
        ("step,val_loss\n1.5,2\n", "row 2: the step is '1.5', and should be a whole number from 0"),
        ("step,val_loss\n-1,2\n", "row 2: the step is '-1'"),
        ("step,val_loss\n,2\n", "row 2: the step is ''"),
        ("step,global_step,a\n1,1,1\n", "'step' and 'global_step' would both be step"),
        ("step,val_acc,val_accuracy\n1,2,3\n", "'val_acc' and 'val_accuracy' would both be val_accuracy"),
        ("step\n1\n", "holds no curves"),
        ("step,val_loss\n1,\n", "holds no curves"),
        (b"\xff\xfe\x00s", "is no text in UTF-8"),
        ('step,a\n1,"2\n', "is no CSV file"),
    ],
)
def test_what_is_no_table_of_curves_is_refused_in_a_line(
    cli: Cli, runs: Path, tmp_path: Path, text: str | bytes, message: str
) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    ended = cli("import", tmp_path / "t.csv", code=2)
    (line,) = ended.errors
    assert line.startswith("error: ")
    assert message in line
    assert not runs.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "there is nothing at nowhere"),
        (["t.csv", "--kind", "csb"], "--kind: there is no kind 'csb'; did you mean 'csv'; there are auto, tensorboard"),
        (["t.csv", "--kind", "mlflow"], "t.csv is no database of MLflow"),
        (["t.csv", "--kind", "tensorboard"], "t.csv holds no event files"),
        (["t.csv", "--metric", "val_lss"], "there is no column 'val_lss'; did you mean 'val_loss'"),
        (["t.csv", "--rename", "val_los=x"], "there is no column 'val_los'; did you mean 'val_loss'"),
        (["t.csv", "--variant", "{lr}"], "has no hyperparameter 'lr'"),
        (["empty"], "this folder holds no event files of TensorBoard and no CSV files"),
        (["t.bin"], "this file is of no known kind; --kind tensorboard|mlflow|csv says what it is"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused_in_a_line(
    cli: Cli, runs: Path, tmp_path: Path, args: list[str], message: str
) -> None:
    (tmp_path / "t.csv").write_text("step,val_loss\n1,2\n")
    (tmp_path / "t.bin").write_bytes(b"abc")
    (tmp_path / "empty").mkdir()
    ended = cli("import", *args, code=2)
    (line,) = ended.errors
    assert message in line.replace("?;", ";")
    assert not runs.exists()


def test_markup_in_names_is_shown_as_it_is(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("run,step,[bold]x[/red]\n[red]r[/blue],1,2\n")
    assert "[red]r[/blue]" in cli("import", tmp_path / "t.csv").stdout


cell = st.one_of(st.none(), st.floats(width=64), st.integers(-(10**9), 10**9).map(float))
# Columns that say which run a row is of would make several runs.
header = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00"), max_size=12).filter(
    lambda name: name.strip().lower().replace(" ", "_") not in (*VARIANT_COLUMNS, *RUN_COLUMNS, *SEED_COLUMNS)
)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_table_comes_through_or_is_refused_in_a_line(data: st.DataObject, tmp_path_factory: Any) -> None:
    names = data.draw(st.lists(header, min_size=1, max_size=4), "names")
    steps = data.draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=6, unique=True), "steps")
    rows = [[step, *data.draw(st.tuples(*(cell for _ in names)))] for step in steps]
    folder = tmp_path_factory.mktemp("any")
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *names])
        writer.writerows([["" if value is None else repr(value) for value in row] for row in rows])
    try:
        (one,), _ = import_runs(str(folder / "t.csv"), folder / "runs", Wish(variant="v"))
    except NnoptError as error:
        refusal = str(error)
        assert "\n" not in refusal
        assert not (folder / "runs").exists()
        return
    curve = RunRecord.read(one.folder).curve()
    assert all(step is not None for step in curve["step"])
    assert all(value is not None and value >= 0 for value in curve["train_seconds"])
    assert curve["step"] == sorted(step or 0 for step in curve["step"])
    for place, name in enumerate(names, 1):
        ours = one.columns.get(name.strip(), name.strip())
        wanted = {row[0]: row[place] for row in rows if row[place] is not None and math.isfinite(row[place])}
        if ours in ("train_seconds", "wall_seconds", "") or name.strip() not in {*one.columns, *curve}:
            continue
        found = dict(zip(curve["step"], curve[ours], strict=True))
        assert {step: value for step, value in found.items() if value is not None} == wanted, name


def test_many_rows_are_read(cli: Cli, runs: Path, tmp_path: Path) -> None:
    with (tmp_path / "big.csv").open("w") as file:
        file.write("step,seconds,train_loss,val_loss\n")
        file.writelines(f"{step},{step / 10},{1 / (step + 1)},{2 / (step + 1)}\n" for step in range(20_000))
    cli("import", tmp_path / "big.csv", "--experiment", "e")
    assert len(record_in(runs, "e/big/seed-0").curve()["step"]) == 20_000
