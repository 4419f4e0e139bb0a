"""The scoreboard: its files, its targets, what is left of it, and where the optimizers stand."""

from __future__ import annotations

import csv
import json
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_line import Ended

from nnopt.bench.scoreboard.board import Board, read_board
from nnopt.bench.scoreboard.carry_out import BenchOptions, plan_board
from nnopt.bench.scoreboard.estimate import (
    BESIDE_SECONDS,
    BESIDE_SHARE,
    STARTUP_SECONDS,
    estimate_board,
    estimate_targets,
)
from nnopt.bench.scoreboard.experiments import experiments_of, target_experiment
from nnopt.bench.scoreboard.standing import Standing, standing_of
from nnopt.bench.scoreboard.targets import (
    Confirmed,
    FixedTarget,
    fix_target,
    read_targets,
    targets_of,
    write_targets,
)
from nnopt.bench.scoreboard.write import board_json
from nnopt.compare.measures import find_measure
from nnopt.errors import SpecError, UsageError
from nnopt.store.files import write_json
from nnopt.store.record import SUMMARY, RunRecord

CONFIGS = Path(__file__).parents[2] / "configs" / "scoreboard"
SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "reference": "adam",
    "trials": 2,
    "seeds": 3,
    "targets": {"baselines": ["adam"], "trials": 2, "seeds": 3, "share": 0.5},
}
DIGITS: dict[str, Any] = {
    "data": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [16]},
    "loss": {"kind": "cross_entropy"},
    "strategy": {"batch_size": 64},
    "budget": {"seconds": 0.2},
    "evaluation": {"every": {"steps": 10}, "select": "val_accuracy"},
}
BOWL: dict[str, Any] = {
    "data": {"kind": "function", "function": {"kind": "quadratic", "dimensions": 4, "condition": 10}},
    "model": {"kind": "point"},
    "loss": {"kind": "objective"},
    "strategy": {"batch_size": 1},
    "budget": {"seconds": 0.2},
    "evaluation": {"every": {"steps": 10}, "select": "val_loss"},
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"kind": "sgd"}, "search": {"space": {"optimizer.lr": {"log": [0.03, 0.3]}}}},
    "adam": {"optimizer": {"kind": "adam"}, "search": {"space": {"optimizer.lr": {"log": [0.003, 0.1]}}}},
    # A point has no matrix.
    "muon": {"optimizer": {"kind": "muon"}, "search": {"space": {"optimizer.lr": {"log": [0.01, 0.1]}}}},
    "untuned": {"optimizer": {"kind": "adam", "lr": 0.01}},
}


def write(folder: Path, settings: Any = SETTINGS, workloads: Any = None, optimizers: Any = OPTIMIZERS) -> Path:
    """A scoreboard's folder."""
    files = {"scoreboard.yaml": settings}
    files |= {f"workloads/{name}.yaml": keys for name, keys in (workloads or {"digits": DIGITS, "bowl": BOWL}).items()}
    files |= {f"optimizers/{name}.yaml": keys for name, keys in optimizers.items()}
    for name, keys in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(keys, sort_keys=False))
    return folder


def fixed(board: Board, **values: float) -> dict[str, FixedTarget]:
    """Targets as if baselines had given them."""
    about = {"baseline": "adam", "quartiles": (0.0, 1.0), "setting": {}, "medians": {}, "trials": 2, "seeds": 3}
    about |= {"seconds": 0.1, "processor": "p", "nnopt": "1", "torch": "2", "date": "2026-01-01"}
    return {
        one.name: FixedTarget(metric=one.metric, value=values[one.name], workload=one.digest, **about)  # type: ignore[arg-type]
        for one in board.workloads
        if one.name in values
    }


def record(seed: int, status: str = "done", summary: dict[str, Any] | None = None) -> RunRecord:
    """A run that is nowhere on the disk."""
    machine = {"processor": "p", "torch": "2"}
    told = {"machine": machine, "spec": {"optimizer": {"lr": 0.1}}, **(summary or {})}
    return RunRecord(Path("nowhere"), "tiny", "adam", None, seed, status, told)


# ------------------------------------------------------------------------------------------------ the folder's files


def test_the_scoreboard_that_comes_along_is_whole() -> None:
    board = read_board(CONFIGS)
    assert 6 <= len(board.workloads) <= 8
    assert len(board.optimizers) >= 8
    assert {one.is_tuned for one in board.optimizers} == {True, False}
    assert len(board.chosen) == len(board.workloads) * len(board.optimizers)
    for workload in board.workloads:
        assert workload.cap <= 10
        found = experiments_of(board, workload, 0.5)
        assert found.refused == {}
        assert found.tuned is not None
        assert all(one.strategy.threads == 1 for one in found.tuned.variants.values())
        target_experiment(board, workload)
    for file in [*CONFIGS.glob("**/*.yaml")]:
        assert file.read_text().startswith("# "), "the first line says what the file is for"


@pytest.mark.parametrize(
    ("file", "keys", "says"),
    [
        ("scoreboard.yaml", {**SETTINGS, "trails": 3}, r"scoreboard.yaml:\d+: trails: unknown key 'trails'.*trials"),
        (
            "scoreboard.yaml",
            {**SETTINGS, "reference": "adm"},
            "has no optimizer 'adm'.*did you mean 'adam'",
        ),
        (
            "scoreboard.yaml",
            {**SETTINGS, "targets": {"baselines": ["untuned"]}},
            "targets.baselines: .* has no optimizer with `search` 'untuned'",
        ),
        ("workloads/digits.yaml", {**DIGITS, "budget": {"epochs": 3}}, r"digits.yaml:\d+: budget: should be {seconds"),
        (
            "workloads/digits.yaml",
            {**DIGITS, "optimizer": {"kind": "sgd"}},
            "optimizer: is no key of a workload",
        ),
        ("workloads/digits.yaml", {**DIGITS, "evaluation": {}}, "evaluation: should have `select`"),
        (
            "workloads/digits.yaml",
            {**DIGITS, "evaluation": {"select": "val_loss", "target": {"metric": "val_loss", "value": 1}}},
            "evaluation.target: is fixed by `nnopt bench .* --targets`",
        ),
        (
            "optimizers/sgd.yaml",
            {"optimiser": {}},
            "optimiser: is no key of .*; did you mean 'optimizer'",
        ),
        ("optimizers/sgd.yaml", {"optimizer": "sgd"}, "optimizer: should be a mapping such as"),
        (
            "optimizers/sgd.yaml",
            {"optimizer": {"kind": "sgd"}, "strategy": {"batch_size": 3}},
            "strategy.batch_size: is no key of `strategy` of an optimizer's file",
        ),
        (
            "optimizers/sgd.yaml",
            {"optimizer": {"kind": "sgd"}, "search": {"trials": 3}},
            "search.trials: is no key of `search` of an optimizer's file",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(tmp_path: Path, file: str, keys: Any, says: str) -> None:
    write(tmp_path)
    (tmp_path / file).write_text(yaml.safe_dump(keys))
    with pytest.raises(SpecError, match=says):
        read_board(tmp_path)


def test_a_folder_without_workloads_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no scoreboard, as it has no scoreboard\.yaml"):
        read_board(tmp_path)
    write(tmp_path)
    shutil.rmtree(tmp_path / "workloads")
    with pytest.raises(SpecError, match=r"workloads: there is no \.yaml file in it"):
        read_board(tmp_path)


@pytest.mark.parametrize(
    ("only", "pairs"),
    [
        (["bowl"], {("bowl", name) for name in OPTIMIZERS}),
        (["sgd", "adam"], {(name, one) for name in ("digits", "bowl") for one in ("sgd", "adam")}),
        (["bowl", "s*"], {("bowl", "sgd")}),
        (["bowl/sgd", "digits/un*"], {("bowl", "sgd"), ("digits", "untuned")}),
    ],
)
def test_only_chooses_pairs(tmp_path: Path, only: list[str], pairs: set[tuple[str, str]]) -> None:
    assert read_board(write(tmp_path), only).chosen == pairs


def test_only_that_fits_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--only lion fits no workload \(bowl, digits\), no optimizer"):
        read_board(write(tmp_path), ["lion"])


# ----------------------------------------------------------------------------------------- what is trained, and when


def test_every_optimizer_has_the_same_trials_and_seeds_and_ends_at_the_target(tmp_path: Path) -> None:
    board = read_board(write(tmp_path))
    workload = next(one for one in board.workloads if one.name == "digits")
    found = experiments_of(board, workload, 0.9)
    assert found.tuned is not None
    assert found.untuned is not None
    assert list(found.tuned.variants) == ["adam", "muon", "sgd"]
    assert list(found.untuned.variants) == ["untuned"]
    for settings in (*found.tuned.variants.values(), *found.untuned.variants.values()):
        target = settings.evaluation.target
        assert target is not None
        assert (target.metric, target.value, target.stop) == ("val_accuracy", 0.9, True)
        assert settings.budget.seconds == 0.2
    search = found.tuned.search
    assert search is not None
    assert search.trials == 2
    assert search.objective.metric == "penalised_seconds"
    # Winners and optimizers without a search are paired by seed; no trial, and no run behind a target, has one of them.
    assert found.untuned.seeds == search.confirm_seeds == (1, 2, 3)
    baselines = target_experiment(board, workload)
    assert baselines.search is not None
    assert baselines.search.trial_seeds == search.trial_seeds == (0,)
    assert not {*baselines.search.confirm_seeds} & {*search.confirm_seeds}
    assert all(one.budget.seconds == 0.1 and one.evaluation.target is None for one in baselines.variants.values())


def test_an_optimizer_that_goes_with_no_workload_is_a_mistake(tmp_path: Path) -> None:
    folder = write(tmp_path, optimizers={**OPTIMIZERS, "wrong": {"optimizer": {"kind": "adm", "lr": 0.1}}})
    board = read_board(folder)
    with pytest.raises(SpecError, match=r"wrong.yaml: optimizer: no optimizer is called 'adm'.*every workload"):
        plan_board(board, fixed(board, digits=0.9, bowl=0.1), BenchOptions(tmp_path / "runs"))


def test_an_optimizer_that_refuses_a_model_is_left_out_there(tmp_path: Path) -> None:
    board = read_board(write(tmp_path))
    planned = plan_board(board, fixed(board, digits=0.9, bowl=0.1), BenchOptions(tmp_path / "runs"))
    refused = {one.workload.name: one.refused for one in planned.experiments}
    assert refused["digits"] == {}
    assert "the model has none" in refused["bowl"]["muon"]


def test_a_workload_whose_data_are_not_here_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNOPT_DATA_DIR", str(tmp_path / "empty"))
    board = read_board(write(tmp_path, workloads={"digits": DIGITS, "mnist": {**DIGITS, "data": {"kind": "mnist"}}}))
    planned = plan_board(board, fixed(board, digits=0.9, mnist=0.9), BenchOptions(tmp_path / "runs"))
    assert [one.workload.name for one in planned.experiments] == ["digits"]
    assert [*planned.without_data] == ["mnist"]


def test_the_estimate_is_bounded_by_the_caps(tmp_path: Path) -> None:
    board = read_board(write(tmp_path))
    planned = plan_board(board, fixed(board, digits=0.9, bowl=0.1), BenchOptions(tmp_path / "runs"))
    estimate = estimate_board(board, planned.experiments, tmp_path / "runs", 2)
    counts = {one.workload: (one.trials, one.runs, one.done) for one in estimate.workloads}
    assert counts == {"digits": (6, 12, 0), "bowl": (4, 9, 0)}  # muon does not go with the bowl
    a_run = 0.2 * (1 + BESIDE_SHARE) + BESIDE_SECONDS
    assert estimate.most == pytest.approx((18 + 13) * a_run / 2 + 2 * STARTUP_SECONDS)
    assert 0 < estimate.about < estimate.most
    baselines = estimate_targets(board, board.workloads, tmp_path / "runs", 1)
    a_run = 0.1 * (1 + BESIDE_SHARE) + BESIDE_SECONDS
    assert baselines.most == pytest.approx(2 * 5 * a_run)


def test_a_run_ends_at_its_target(cli: Callable[..., Ended], runs: Path, tmp_path: Path) -> None:
    keys = {**DIGITS, "name": "small", "optimizer": {"kind": "adam", "lr": 0.01}, "budget": {"epochs": 20}, "seeds": 1}
    keys["evaluation"] = {**DIGITS["evaluation"], "target": {"metric": "val_accuracy", "value": 0.8, "stop": True}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(keys))
    cli("train", tmp_path / "small.yaml", "--quiet")
    found = RunRecord.read(runs / "small" / "adam" / "seed-0")
    values = found.curve()["val_accuracy"]
    assert found.summary["reason"] == "stopped at the target: val_accuracy 0.8"
    assert [value >= 0.8 for value in values] == [False] * (len(values) - 1) + [True]  # type: ignore[operator]
    assert found.summary["target"]["step"] == found.summary["steps"] < 100
    # Without `stop` it trains on, and that is another spec.
    cli("train", tmp_path / "small.yaml", "evaluation.target.stop=false", "--quiet")
    (other,) = (runs / "small" / "adam").glob("seed-0-*")
    assert RunRecord.read(other).summary["reason"] == "the budget is used up"


def test_penalised_seconds_order_runs_by_how_near_they_came(tmp_path: Path) -> None:
    def run(name: str, reached: bool, seconds: float, losses: list[float]) -> RunRecord:
        folder = tmp_path / name
        folder.mkdir()
        rows = "".join(f"{step},{step},{loss}\n" for step, loss in enumerate(losses, 1))
        (folder / "metrics.csv").write_text(f"step,train_seconds,val_loss\n{rows}")
        target = {"metric": "val_loss", "value": 0.5, "reached": reached, **({"seconds": seconds} if reached else {})}
        return replace(record(0, summary={"target": target, "seconds": {"train": seconds}}), folder=folder)

    found = [
        run("late", True, 7.9, [0.9, 0.4]),
        run("near", False, 8.0, [0.9, 0.6, 0.7]),
        run("far", False, 8.0, [0.9, 0.8]),
    ]
    measure = find_measure("penalised_seconds", found)
    assert not measure.higher_is_better
    assert [measure.read(one) for one in found] == pytest.approx([7.9, 8.0 * 1.2, 8.0 * 1.6])
    assert measure.read(record(0, summary={"target": None})) is None


# ---------------------------------------------------------------------------------------------------------- targets


def with_last(values: list[float | None], metric: str) -> tuple[RunRecord, ...]:
    """Runs that ended with these values, None for one that diverged."""
    return tuple(
        record(seed, "diverged" if value is None else "done", {"metrics": {metric: {"last": value}}})
        for seed, value in enumerate(values)
    )


@pytest.mark.parametrize(
    ("metric", "first", "second", "best"),
    [
        ("val_accuracy", [0.9, 0.8, 0.7, None], [0.6, 0.5, 0.95, 0.99], "second"),  # medians 0.75 and 0.775
        ("val_loss", [0.9, 0.8, 0.7, None], [0.6, 0.5, 0.95, 0.99], "second"),  # 0.85 and 0.775
        ("val_loss", [0.4, 0.3, 0.2], [None, None, 0.1], "first"),
    ],
)
def test_the_target_is_the_better_baselines_median(
    tmp_path: Path, metric: str, first: list[float | None], second: list[float | None], best: str
) -> None:
    keys = {**DIGITS, "evaluation": {"select": metric}}
    board = read_board(write(tmp_path, workloads={"digits": keys}))
    confirmed = [
        Confirmed(name, {"optimizer.lr": 0.1}, with_last(values, metric))
        for name, values in (("first", first), ("second", second))
    ]
    found = fix_target(board, board.workloads[0], confirmed)
    chosen = {"first": first, "second": second}[best]
    worst = -np.inf if metric == "val_accuracy" else np.inf
    values = [worst if value is None else value for value in chosen]
    assert (found.baseline, found.value) == (best, pytest.approx(statistics.median(values)))
    assert found.seeds == len(values)
    if np.all(np.isfinite(values)):
        assert found.quartiles == pytest.approx(tuple(np.quantile(values, [0.25, 0.75])))
    write_targets(board, {"digits": found})
    assert read_targets(board) == {"digits": found}
    assert targets_of(board) == {"digits": found}


def test_no_target_comes_from_baselines_that_diverge(tmp_path: Path) -> None:
    board = read_board(write(tmp_path, workloads={"digits": DIGITS}))
    confirmed = [Confirmed("adam", {}, with_last([None, None, 0.9], "val_accuracy"))]
    with pytest.raises(UsageError, match="workload digits has no target: half of the runs of adam or more"):
        fix_target(board, board.workloads[0], confirmed)


def test_a_target_is_of_one_workload_as_it_was(tmp_path: Path) -> None:
    board = read_board(write(tmp_path))
    with pytest.raises(UsageError, match=r"workload bowl has no target yet: `nnopt bench .* --targets` fixes it"):
        targets_of(board)
    write_targets(board, fixed(board, digits=0.9, bowl=0.1))
    assert targets_of(board)["bowl"].value == 0.1
    (tmp_path / "workloads" / "bowl.yaml").write_text(yaml.safe_dump({**BOWL, "budget": {"seconds": 9}}))
    with pytest.raises(UsageError, match=r"bowl.yaml has changed since its target was fixed"):
        targets_of(read_board(tmp_path))
    assert targets_of(read_board(tmp_path, ["digits"]))
    (tmp_path / "targets.yaml").write_text("bowl: {metric: val_loss, value: low}\n")
    with pytest.raises(SpecError, match=r"targets.yaml:1: bowl\.\w+: "):
        read_targets(board)


# --------------------------------------------------------------------------------------------------- the whole of it


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scoreboard that was carried out: the folder, with its runs in `runs`."""
    from typer.testing import CliRunner

    from nnopt.cli.main import app

    folder = write(tmp_path_factory.mktemp("board"))
    for flags in (["--targets"], []):
        result = CliRunner().invoke(app, ["bench", str(folder), "--runs-dir", str(folder / "runs"), "--quiet", *flags])
        assert result.exit_code == 0, result.output
    return folder


def standing(folder: Path, runs_dir: Path | None = None, only: tuple[str, ...] = ()) -> Standing:
    """Where the optimizers stand by the runs on the disk."""
    board = read_board(folder, only)
    targets, runs_dir = targets_of(board), runs_dir or folder / "runs"
    return standing_of(board, plan_board(board, targets, BenchOptions(runs_dir)), targets, runs_dir)


def test_the_board_says_how_soon_each_got_there(done: Path) -> None:
    found = standing(done)
    assert {(one.workload, one.optimizer) for one in found.results} == {
        (workload, name) for workload in ("digits", "bowl") for name in OPTIMIZERS
    }
    assert not found.has_open
    for one in found.results:
        if one.refused:
            assert (one.workload, one.optimizer, one.median) == ("bowl", "muon", None)
            continue
        target = found.targets[one.workload]
        times = []
        for run in one.records:
            rows = zip(run.curve()["train_seconds"], run.curve()[target.metric], strict=True)
            sign = 1 if one.workload == "digits" else -1
            here = [seconds for seconds, value in rows if sign * value >= sign * target.value]  # type: ignore[operator]
            times.append(here[0] if here else np.inf)
        ordered = sorted(times)
        assert one.time is not None
        assert one.time.runs == 3
        assert one.time.reached == sum(np.isfinite(ordered))
        assert one.median == (ordered[1] if np.isfinite(ordered[1]) else None)  # half of three runs are two
        if one.is_tuned:
            assert 0.003 <= one.setting["optimizer.lr"] <= 0.3


def test_the_score_is_the_area_under_the_profile_of_the_class(done: Path) -> None:
    found = standing(done)
    assert found.tuned is not None
    assert found.untuned is not None
    assert found.untuned.variants == ("untuned",)
    times = {one: np.array([np.inf if t is None else t for t in row]) for one, row in found.tuned.times.items()}
    best = np.min(list(times.values()), axis=0)
    taus = np.linspace(1, 4, 300_001)
    for name, row in times.items():
        ratios = np.where(np.isfinite(best), row / best, np.inf)
        area = np.mean([(ratios <= tau).mean() for tau in taus])
        assert found.tuned.profile_scores[name] == pytest.approx(area, abs=1e-4)
    assert found.tuned.baseline == found.untuned.baseline == "adam"
    assert {one.variant for one in found.untuned.speedups} == {"untuned"}


def test_the_files_hold_the_same_numbers(done: Path) -> None:
    found = standing(done)
    folder = done / "runs" / "tiny"
    names = {"scoreboard.md", "scoreboard.csv", "scoreboard.json", "profiles-tuned.png", "profiles-self-tuning.png"}
    assert {path.name for path in folder.iterdir()} == names
    plain = json.loads((folder / "scoreboard.json").read_text())
    now = json.loads(json.dumps(board_json(found)))
    assert {**plain, "written": ""} == {**now, "written": ""}
    with (folder / "scoreboard.csv").open() as file:
        rows = {(row["workload"], row["optimizer"]): row for row in csv.DictReader(file)}
    text = (folder / "scoreboard.md").read_text()
    for one in found.results:
        cell = rows[one.workload, one.optimizer]["seconds"]
        assert cell == ("" if one.median is None else str(one.median))
        assert one.optimizer in text
    assert plain["machines"][0]["processor"] in text
    assert "n = 3 seeds" in text


def test_the_same_command_goes_on_where_it_stopped(done: Path, cli: Callable[..., Ended], tmp_path: Path) -> None:
    folder = shutil.copytree(done, tmp_path / "copy")
    runs = folder / "runs"
    (gone,) = (runs / "tiny-digits").glob("sgd/seed-2")
    shutil.rmtree(gone)
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/*/seed-*/summary.json")}
    assert [one.optimizer for one in standing(folder, runs).results if one.is_open] == ["sgd"]
    open_ = standing(folder, runs).tuned
    assert open_ is not None
    assert "sgd" not in open_.variants
    write(folder, optimizers={**OPTIMIZERS, "new": {"optimizer": {"kind": "adam", "lr": 0.02}}})
    left = cli("bench", folder, "--runs-dir", runs, "--dry-run", "--json")
    assert sum(one["runs"] for one in json.loads(left.stdout)["workloads"]) == 1 + 2 * 3
    assert not gone.exists(), "a dry run trains nothing"
    ended = cli("bench", folder, "--runs-dir", runs, "--quiet", "--json")
    after = {path: path.stat().st_mtime_ns for path in runs.glob("*/*/seed-*/summary.json")}
    assert {path: after[path] for path in before} == before
    assert {path.parent.relative_to(runs).as_posix() for path in after.keys() - before.keys()} == {
        "tiny-digits/sgd/seed-2",
        *(f"tiny-{workload}/new/seed-{seed}" for workload in ("digits", "bowl") for seed in (1, 2, 3)),
    }
    assert json.loads(ended.stdout)["classes"]["self-tuning"]["variants"] == ["new", "untuned"]


def test_a_failed_run_never_got_there(done: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(done / "runs", tmp_path / "runs")
    before = {(one.workload, one.optimizer): one for one in standing(done, runs).results}["bowl", "sgd"]
    assert before.time is not None
    for seed in (1, 2):
        folder = runs / "tiny-bowl" / "sgd" / f"seed-{seed}"
        write_json(folder / SUMMARY, {**RunRecord.read(folder).summary, "status": "failed"})
    found = {(one.workload, one.optimizer): one for one in standing(done, runs).results}["bowl", "sgd"]
    assert found.time is not None
    assert (found.time.runs, found.is_open) == (3, False)
    assert found.time.reached <= 1
    assert found.median is None
    tuned = standing(done, runs).tuned
    assert tuned is not None
    assert tuned.times["sgd"][tuned.tasks.index("bowl")] is None


def test_a_changed_optimizer_is_told(done: Path, cli: Callable[..., Ended], tmp_path: Path) -> None:
    folder = shutil.copytree(done, tmp_path / "copy")
    changed = {"optimizer": {"kind": "sgd", "momentum": 0.5}, "search": OPTIMIZERS["sgd"]["search"]}
    write(folder, optimizers={**OPTIMIZERS, "sgd": changed})
    ended = cli("bench", folder, "--runs-dir", folder / "runs", "--quiet", code=2)
    assert "optimizer.momentum" in ended.errors[-1]
    assert "give its file another name" in ended.errors[-1]
    assert len([line for line in ended.errors if line.startswith("error")]) == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "has no target yet: `nnopt bench"),
        (["--only", "nobody"], "--only nobody fits no workload"),
        (["--jobs", "9999"], "runs that share one take longer"),
        (["--only", "sgd", "--fresh"], "--fresh sets whole workloads aside"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    cli: Callable[..., Ended], tmp_path: Path, flags: list[str], says: str
) -> None:
    ended = cli("bench", write(tmp_path / "board"), *flags, code=2)
    assert len(ended.errors) == 1
    assert says in ended.errors[0]
    assert not (tmp_path / "runs").exists()
