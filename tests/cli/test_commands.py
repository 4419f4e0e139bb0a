"""Every command of the command line, on real runs."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import pandas
import pytest
import yaml
from command_line import SMALL, Ended
from typer.testing import CliRunner

from nnopt.plan import Plan
from nnopt.spec.loading import load
from nnopt.spec.parts import MAPPINGS, UNIONS
from nnopt.version import __version__

TWO = {
    **SMALL,
    "seeds": 2,
    "tags": ["quick", "demo"],
    "notes": "what I want to remember",
    "evaluation": {"target": {"metric": "val_accuracy", "value": 0.2}},
    "variants": {"sgd": {}, "adam": {"optimizer": {"kind": "adam", "lr": 3e-3}}},
}

Look = Callable[..., Ended]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with spec.yaml and the runs that it gave; tests only look at it."""
    from nnopt.cli.main import app

    folder = tmp_path_factory.mktemp("trained")
    (folder / "spec.yaml").write_text(yaml.safe_dump(TWO, sort_keys=False))
    args = ["train", str(folder / "spec.yaml"), "--runs-dir", str(folder / "runs"), "--quiet"]
    assert CliRunner().invoke(app, args, catch_exceptions=False).exit_code == 0
    return folder


@pytest.fixture
def look(trained: Path, cli: Look) -> Look:
    """The command line over the trained runs."""
    return lambda *args, **options: cli(*args, NNOPT_RUNS_DIR=str(trained / "runs"), **options)


def rows_of(text: str) -> list[list[str]]:
    """The words of a printed table, row by row."""
    return [line.split() for line in text.splitlines() if line.strip()]


def is_picture(path: Path) -> bool:
    """Whether a file is a PNG of a size worth looking at, with something drawn on it."""
    pixels = matplotlib.image.imread(path)
    return bool(pixels.shape[0] >= 300 and pixels.shape[1] >= 600 and pixels.std() > 0.01)


# --------------------------------------------------------------------------------------------------- list


def test_list_prints_every_run_and_what_it_takes_on_disk(look: Look, trained: Path) -> None:
    printed = look("list").stdout
    rows = {row[0]: row for row in rows_of(printed)}
    for name in ("small/adam/seed-0", "small/adam/seed-1", "small/sgd/seed-0", "small/sgd/seed-1"):
        assert rows[name][1:3] == ["done", "2"]
        assert "val_accuracy" in rows[name]
    assert printed.splitlines()[-1].startswith("4 runs, ")
    (run,) = json.loads(look("list", "--json", "adam/seed-1").stdout)
    files = [path for path in (trained / "runs/small/adam/seed-1").rglob("*") if path.is_file()]
    assert 0 < run["disk_bytes"] <= sum(path.stat().st_size for path in files)
    summary = json.loads((trained / "runs/small/adam/seed-1/summary.json").read_text())
    assert run["last"] == summary["metrics"]["val_accuracy"]["last"]


def test_list_takes_tags_and_names(look: Look) -> None:
    assert len(json.loads(look("list", "--json", "--tag", "quick").stdout)) == 4
    assert json.loads(look("list", "--json", "--tag", "slow").stdout) == []
    assert {run["run"] for run in json.loads(look("list", "--json", "sgd").stdout)} == {
        "small/sgd/seed-0",
        "small/sgd/seed-1",
    }


def test_list_without_a_runs_folder_says_what_to_do(cli: Look, runs: Path) -> None:
    assert cli("list", code=2).errors == [
        f"error: there is no runs folder {runs}: train something first, or give --runs-dir"
    ]


# --------------------------------------------------------------------------------------------------- show


def test_show_tells_how_a_run_went(look: Look) -> None:
    printed = look("show", "adam/seed-0").stdout
    for words in ("done", "quick, demo", "what I want to remember", "2 epochs, 40 steps", "1,210", "same bits again"):
        assert words in printed
    assert re.search(r"target +val_accuracy 0.2: reached at step \d+", printed)
    assert re.search(r"test, best weights +loss \d", printed)


def test_show_prints_the_spec(look: Look, trained: Path) -> None:
    printed = look("show", "adam/seed-0", "--spec").stdout
    assert (trained / "runs/small/adam/seed-0/spec.yaml").read_text() in printed


def test_show_prints_json(look: Look, trained: Path) -> None:
    shown = json.loads(look("show", "small/adam/seed-0", "--json").stdout)
    assert shown["folder"] == str(trained / "runs/small/adam/seed-0")
    assert (shown["status"], shown["steps"], shown["tags"]) == ("done", 40, ["quick", "demo"])


def test_show_draws_the_curves(look: Look, tmp_path: Path) -> None:
    assert "written: curves.png" in look("show", "sgd/seed-1", "--plot", "curves.png").stdout
    assert is_picture(tmp_path / "curves.png")


def test_show_wants_one_run(look: Look) -> None:
    (line,) = look("show", "sgd", code=2).errors
    assert line == "error: sgd names 2 runs (small/sgd/seed-0, small/sgd/seed-1); name one of them"


@pytest.mark.parametrize("command", ["show", "compare"])
def test_a_picture_that_cannot_be_written_is_told_first(command: str, look: Look, tmp_path: Path) -> None:
    (line,) = look(command, "sgd/seed-0", "--plot", "no/such/folder.png", code=2).errors
    assert line == "error: cannot write no/such/folder.png: it lies in no/such, which is not there"


# --------------------------------------------------------------------------------------------------- eval


@pytest.mark.parametrize("weights", ["best", "last"])
def test_eval_gives_the_numbers_of_the_run(look: Look, trained: Path, weights: str) -> None:
    summary = json.loads((trained / "runs/small/adam/seed-0/summary.json").read_text())
    again = json.loads(look("eval", "adam/seed-0", "--weights", weights, "--json").stdout)
    for name in ("loss", "accuracy"):
        assert again[name] == summary["test"][weights][name]
    assert sum(map(sum, again["confusion"])) == 359  # a fifth of 1797
    validation = look("eval", "adam/seed-0", "--weights", weights, "--on", "validation", "--json").stdout
    which = "last" if weights == "last" else "best"
    assert json.loads(validation)["accuracy"] == summary["metrics"]["val_accuracy"][which]


def test_eval_prints_tables(look: Look) -> None:
    printed = look("eval", "adam/seed-0").stdout
    assert "best weights (step" in printed
    assert "confusion: rows are true classes" in printed


# ------------------------------------------------------------------------------------------------- compare


def test_compare_ranks_and_names_the_best(look: Look) -> None:
    printed = look("compare", "small").stdout
    assert "best: adam, val_accuracy 0." in printed
    assert "optimizer.kind" in printed
    assert "data.kind" not in printed  # the same in both
    assert "2 of 2" in printed


def test_compare_writes_what_it_prints(look: Look, tmp_path: Path, trained: Path) -> None:
    ended = look("compare", "small", "--csv", "a.csv", "--markdown", "a.md", "--plot", "a.png", "--json")
    shown = json.loads(ended.stdout)
    table = pandas.read_csv(tmp_path / "a.csv").set_index("variant")
    assert list(table.index) == shown["ranking"] == ["adam", "sgd"]
    lasts = [
        json.loads((trained / f"runs/small/adam/seed-{seed}/summary.json").read_text())["metrics"]["val_accuracy"]
        for seed in (0, 1)
    ]
    assert table.loc["adam", "last_mean"] == pytest.approx(sum(last["last"] for last in lasts) / 2, rel=1e-9)
    assert (tmp_path / "a.md").read_text().count("|") > 10
    assert is_picture(tmp_path / "a.png")


def test_compare_by_another_metric_and_target(look: Look) -> None:
    shown = json.loads(look("compare", "small", "--metric", "val_loss", "--target", "0.001", "--json").stdout)
    assert shown["metric"] == "val_loss"
    assert shown["higher_is_better"] is False
    assert shown["target"] == {"metric": "val_loss", "value": 0.001}
    assert [row["target_reached"] for row in shown["rows"]] == [0, 0]
    assert [row["target_steps"] for row in shown["rows"]] == [None, None]


@pytest.mark.parametrize("names", [["sgd", "adam"], ["small/*"], ["*/adam", "sgd/seed-0"], ["small/sgd/seed-[01]"]])
def test_compare_takes_variants_globs_and_tails(look: Look, names: list[str]) -> None:
    assert "best: " in look("compare", *names).stdout


def test_compare_takes_folders_from_anywhere(cli: Look, trained: Path) -> None:
    folders = [trained / "runs/small/sgd/seed-0", trained / "runs/small/adam"]
    assert "best: adam" in cli("compare", *folders).stdout


def test_compare_with_a_metric_that_no_run_has(look: Look) -> None:
    (line,) = look("compare", "small", "--metric", "val_acuracy", code=2).errors
    assert "did you mean 'val_accuracy'?" in line


def test_compare_without_anything_to_read(look: Look, tmp_path: Path) -> None:
    assert look("compare", code=2).stdout == ""


def test_train_writes_the_comparison_beside_the_variants(trained: Path) -> None:
    folder = trained / "runs" / "small"
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "comparison.csv", "comparison.md", "convergence.png",
    }  # fmt: skip
    with (folder / "comparison.csv").open() as file:
        assert [row["variant"] for row in csv.DictReader(file)] == ["adam", "sgd"]
    assert is_picture(folder / "convergence.png")


# --------------------------------------------------------------------------------------------------- check


def test_check_prints_a_spec_that_loads_as_the_same_runs(cli: Look, write_spec: Write, runs: Path) -> None:
    path = write_spec(TWO)
    printed = cli("check", path, "optimizer.lr=0.03").stdout
    again = write_spec(printed.split("\n\n")[0] + "\n", "again.yaml")
    assert Plan.of(load(again)).runs == Plan.of(load(path, ["optimizer.lr=0.03"])).runs
    assert not runs.exists()


def test_check_prints_plan_sizes_and_rates(cli: Look, write_spec: Write, tmp_path: Path) -> None:
    printed = cli("check", write_spec(TWO), "strategy.lr_decay={kind: linear}", "--plot", "lr.png").stdout
    assert "4 of 4 runs would train, 2 epochs each" in printed
    assert "sgd: 1,210 parameters, 1,222 training samples (1x8x8 images)" in printed
    assert re.search(r"  sgd  █.* to 0\.1\b", printed)
    assert is_picture(tmp_path / "lr.png")


def test_check_without_building_needs_no_data(cli: Look, write_spec: Write, tmp_path: Path) -> None:
    spec = write_spec({"data": {"kind": "mnist", "root": str(tmp_path)}})
    assert "parameters" not in cli("check", spec, "--no-build").stdout


# --------------------------------------------------------------------------------------------------- parts


def test_parts_lists_all(cli: Look) -> None:
    printed = rows_of(cli("parts").stdout)
    for kinds in UNIONS.values():
        for name in kinds.named():
            assert [name] in [row[:1] for row in printed]
    shown = json.loads(cli("parts", "--json").stdout)
    assert {union: set(parts) for union, parts in shown.items()} == {
        union: set(kinds.named()) for union, kinds in UNIONS.items()
    }


MEMBERS = [(union, name) for union, kinds in UNIONS.items() for name in kinds.named()]


@pytest.mark.parametrize(("union", "name"), MEMBERS)
def test_parts_prints_every_part_with_its_keys(cli: Look, union: str, name: str) -> None:
    part = UNIONS[union].find(name)
    printed = cli("parts", union, name, "--no-measure").stdout
    shown = json.loads(cli("parts", union, name, "--json", "--no-measure").stdout)
    assert shown["description"]
    assert [key["name"] for key in shown["keys"]] == [key for key in part.model_fields if key != "kind"]
    for key in shown["keys"]:
        assert key["name"] in printed
        assert key["description"]
        assert key["type"]
    assert part.formula in printed
    assert part.source in printed


@pytest.mark.parametrize("name", MAPPINGS)
def test_parts_prints_every_mapping(cli: Look, name: str) -> None:
    shown = json.loads(cli("parts", name, "--json").stdout)
    assert [key["name"] for key in shown["keys"]] == list(MAPPINGS[name].model_fields)
    for key in shown["keys"]:
        assert key["description"]
        assert key["name"] in cli("parts", name).stdout


def test_every_textbook_optimizer_has_its_formula() -> None:
    for name, part in UNIONS["optimizer"].named().items():
        assert part.formula, name


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["optimiser"], "no kind of part is called 'optimiser'; did you mean 'optimizer'?"),
        (["optimizer", "admm"], "no optimizer is called 'admm'; did you mean 'adam'?"),
        (["strategy", "x"], "strategy has keys, not kinds"),
    ],
)
def test_parts_that_are_not_there(cli: Look, args: list[str], message: str) -> None:
    (line,) = cli("parts", *args, code=2).errors
    assert message in line


# --------------------------------------------------------------------------------- init, schema, doctor, version


def test_init_writes_a_spec_that_checks(cli: Look, tmp_path: Path) -> None:
    assert "nnopt train start.yaml" in cli("init").stdout
    cli("check", "start.yaml")
    written = (tmp_path / "start.yaml").read_bytes()
    (line,) = cli("init", code=2).errors
    assert line == "error: start.yaml is there already; give another name with --output"
    assert (tmp_path / "start.yaml").read_bytes() == written
    cli("init", "start", "--output", "other.yaml")
    assert (tmp_path / "other.yaml").read_bytes() == written


def test_init_lists_its_examples(cli: Look) -> None:
    for line in cli("init", "--list").stdout.splitlines():
        name, _, description = line.partition("  ")
        assert description.strip()
        cli("init", name.strip())
        cli("check", f"{name.strip()}.yaml", "--no-build")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["strat"], "no example is called 'strat'; did you mean 'start'?"),
        (["--output", "no/such.yaml"], "cannot write no/such.yaml: it lies in no, which is not there"),
    ],
)
def test_init_refuses_in_words(cli: Look, args: list[str], message: str) -> None:
    (line,) = cli("init", *args, code=2).errors
    assert message in line


def test_doctor_finds_what_is_here(cli: Look, runs: Path) -> None:
    found = {line["name"]: line for line in json.loads(cli("doctor", "--json").stdout)}
    assert found["data digits"]["state"] == "good"
    assert found["device cpu"]["state"] == "good"
    assert f"{__version__} on Python" in found["nnopt"]["text"]
    assert "torch 2." in found["packages"]["text"]
    assert str(runs) in found["runs folder"]["text"]
    assert not runs.exists()
    assert "data digits" in cli("doctor").stdout


def test_doctor_finds_a_runs_folder_that_cannot_be_written(cli: Look, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = json.loads(cli("doctor", "--json", "--runs-dir", "file/runs", code=1).stdout)
    assert [line["name"] for line in found if line["state"] == "bad"] == ["runs folder"]


def test_version(cli: Look) -> None:
    assert cli("--version").stdout == f"nnopt {__version__}\n"


def test_help_names_every_command(cli: Look) -> None:
    printed = cli("--help").stdout
    for command in ("train", "compare", "list", "show", "eval", "check", "parts", "init", "new", "schema", "doctor"):
        assert re.search(rf"\b{command}\b", printed)
        assert cli(command, "-h").stdout


def test_completion_for_shells(program: Look) -> None:
    # Without this Typer asks which shell the program was started from; under make that is sh, which completes nothing.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "complete" in program("--show-completion", "bash", **named).stdout


# --------------------------------------------------------------------------------------------------- train


def test_train_says_what_it_would_do(cli: Look, write_spec: Write, runs: Path) -> None:
    shown = json.loads(cli("train", write_spec(TWO), "--dry-run", "--json").stdout)
    assert [(row["variant"], row["seed"], row["action"]) for row in shown] == [
        ("sgd", 0, "trained"),
        ("adam", 0, "trained"),
        ("sgd", 1, "trained"),
        ("adam", 1, "trained"),
    ]
    assert shown[0]["folder"] == str(runs / "small" / "sgd" / "seed-0")
    assert not runs.exists()


def test_a_dry_run_knows_what_is_there(look: Look, trained: Path) -> None:
    def actions(*overrides: str) -> set[str]:
        shown = json.loads(look("train", trained / "spec.yaml", "--dry-run", "--json", *overrides).stdout)
        return {row["action"] for row in shown}

    assert actions() == {"skipped"}
    assert actions("--fresh") == {"set aside and trained anew"}
    assert actions("budget.epochs=5") == {"prolonged from a smaller budget"}
    assert actions("optimizer.lr=0.5") == {"trained"}
    assert actions("seeds=3") == {"skipped", "trained"}


def test_train_again_skips_and_says_so(look: Look, trained: Path) -> None:
    before = (trained / "runs/small/sgd/seed-0/summary.json").read_bytes()
    ended = look("train", trained / "spec.yaml")
    assert "[1/4] small/sgd/seed-0: done before, skipped" in ended.stderr
    assert (trained / "runs/small/sgd/seed-0/summary.json").read_bytes() == before
    assert "best: adam" in ended.stdout


def test_fresh_sets_the_old_run_aside(cli: Look, write_spec: Write, runs: Path) -> None:
    cli("train", write_spec(), "--quiet")
    old = json.loads((runs / "small/sgd/seed-0/summary.json").read_text())
    cli("train", write_spec(), "--quiet", "--fresh")
    (aside,) = (runs / ".aside" / "small" / "sgd").iterdir()
    assert json.loads((aside / "summary.json").read_text()) == old
    new = json.loads((runs / "small/sgd/seed-0/summary.json").read_text())
    assert new["metrics"] == old["metrics"]
    assert len(json.loads(cli("list", "--json").stdout)) == 1


def test_quiet_says_nothing_but_the_result(cli: Look, write_spec: Write) -> None:
    ended = cli("train", write_spec(), "--quiet")
    assert ended.stderr == ""
    assert "best: sgd, val_accuracy" in ended.stdout


def test_progress_is_plain_lines_where_there_is_no_terminal(cli: Look, write_spec: Write) -> None:
    ended = cli("train", write_spec({"seeds": 2}))
    assert [re.sub(r"in [0-9.]+ s", "in T s", line) for line in ended.errors] == [
        "[1/2] small/sgd/seed-0: done in T s",
        "[2/2] small/sgd/seed-1: done in T s",
    ]


def test_train_prints_json(cli: Look, write_spec: Write) -> None:
    shown = json.loads(cli("train", write_spec(), "--quiet", "--json").stdout)
    assert shown["best"] == "sgd"
    assert shown["rows"][0]["done"] == 1


DIVERGES: dict[str, Any] = {
    "variants": {"wild": {"optimizer": {"lr": 1e38}}, "calm": {}},
    "seeds": 1,
}


def test_a_diverged_run_lets_the_others_go_on(cli: Look, write_spec: Write, runs: Path) -> None:
    ended = cli("train", write_spec(DIVERGES), code=1)
    statuses = {path.parts[-3]: json.loads(path.read_text())["status"] for path in runs.glob("*/*/*/summary.json")}
    assert statuses == {"wild": "diverged", "calm": "done"}
    assert re.search(r"small/wild/seed-0: diverged \(the loss is not finite at step \d+", ended.stderr)
    assert "best: calm" in ended.stdout


def test_fail_fast_stops_at_the_first_bad_run(cli: Look, write_spec: Write, runs: Path) -> None:
    cli("train", write_spec(DIVERGES), "--quiet", "--fail-fast", code=1)
    assert {path.parts[-3] for path in runs.glob("*/*/*/summary.json")} == {"wild"}


def test_runs_dir_is_before_the_environment(cli: Look, write_spec: Write, runs: Path, tmp_path: Path) -> None:
    cli("train", write_spec(), "--quiet", "--runs-dir", "given")
    assert (tmp_path / "given" / "small" / "sgd" / "seed-0" / "summary.json").is_file()
    assert not runs.exists()
    cli("train", write_spec(), "--quiet", NNOPT_RUNS_DIR="")
    assert (tmp_path / "runs" / "small").is_dir()  # the default, in the working directory


def test_a_run_knows_its_tags_and_notes(trained: Path) -> None:
    folder = trained / "runs/small/sgd/seed-0"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["tags"], summary["notes"]) == (["quick", "demo"], "what I want to remember")
    spec = load(folder / "spec.yaml")
    assert (spec.tags, spec.notes, spec.seeds, list(spec.variants)) == (
        ("quick", "demo"), "what I want to remember", (0,), ["sgd"],
    )  # fmt: skip


def test_debug_shows_where(program: Look) -> None:
    ended = program("--debug", "train", "nowhere.yaml", code=1)
    assert "Traceback" in ended.stderr
    assert "SpecError: nowhere.yaml: there is no such file" in ended.stderr


def test_a_reader_that_had_enough_is_no_failure(cli: Look, write_spec: Write, runs: Path) -> None:
    cli("train", write_spec({"budget": {"steps": 2}, "seeds": 1}), "--quiet")
    for command in ("compare small/sgd", "schema"):
        script = f"set -o pipefail; {sys.executable} -m nnopt {command} | true"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
