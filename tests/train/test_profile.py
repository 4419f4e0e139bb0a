"""`nnopt train --profile`: where the time of a step goes, what is written of it, and that nothing of a run changes."""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from command_line import Ended
from running import assert_same_bits, fit, fit_one, prepare, summary_of
from torch import Tensor

from nnopt.data.feed import Feed
from nnopt.optim.optimizer import Evaluate, Finite, RuleOptimizer
from nnopt.spec.parallel import Hogwild
from nnopt.stages import PARTS, STAGES, stage, watched_by
from nnopt.store.profile_file import FILES, read_profile
from nnopt.train.listener import Listener
from nnopt.train.profiling import rehearsal
from nnopt.train.profiling.findings import findings
from nnopt.train.profiling.rehearsal import Window
from nnopt.train.profiling.times import StageTimes, percentile, stage_rows, step_statistics
from nnopt.train.runner import Workshop
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest

CPU = torch.device("cpu")
SLEEP = 0.01
FEW = classmethod(lambda cls, _: cls(1, 12, 3))
Cli = Callable[..., Ended]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def few_steps(undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each sort fewer than a user gets."""
    monkeypatch.setattr(Window, "of", FEW)


def stages_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of profile.json by stage and part."""
    return {row["stage"]: row for row in read_profile(folder)["stages"]}


# ------------------------------------------------------------------------------------------- marks and times


class Said:
    """A watch that writes down what it hears."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def enter(self, name: str) -> None:
        self.words.append(name)

    def leave(self) -> None:
        self.words.append("")


def test_marks_are_heard_while_somebody_watches_also_after_an_error() -> None:
    said = Said()
    with stage("data"):
        pass
    with pytest.raises(KeyError), watched_by(said), stage("optimizer"), stage("forward"):
        raise KeyError
    with stage("data"):
        pass
    assert said.words == ["optimizer", "forward", "", ""]


class Clock:
    """A clock that goes on when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("nnopt.train.profiling.times.time.perf_counter", made)
    return made


def spend(clock: Clock, *milliseconds: int) -> None:
    """A step whose pieces take so long: before, data, augmentation, optimizer, forward, optimizer, average."""
    before, data, augmentation, ahead, forward, behind, average = milliseconds
    clock.now += before / 1000
    with stage("data"):
        clock.now += data / 1000
        with stage("augmentation"):
            clock.now += augmentation / 1000
    with stage("optimizer"):
        clock.now += ahead / 1000
        with stage("forward"):
            clock.now += forward / 1000
        clock.now += behind / 1000
    with stage("average"):
        clock.now += average / 1000


def test_every_moment_belongs_to_the_innermost_stage(clock: Clock) -> None:
    times = StageTimes(CPU)
    for pieces in ((1, 2, 4, 8, 16, 32, 64), (3, 0, 0, 0, 0, 5, 0)):
        with times.step():
            spend(clock, *pieces)
    times.end()
    rows = {row["stage"]: row for row in stage_rows(times)}
    assert list(rows) == ["data", "augmentation", *STAGES[1:], "average"]
    means = {name: row["mean_ms"] for name, row in rows.items()}
    assert means == pytest.approx(
        {
            "data": 3,
            "augmentation": 2,
            "forward": 8,
            "backward": 0,
            "optimizer": 22.5,
            "synchronisation": 0,
            "other": 34,
            "average": 32,
        }
    )
    assert rows["optimizer"]["median_ms"] == pytest.approx(22.5)
    assert rows["other"]["p95_ms"] == pytest.approx(3 + 0.95 * 62)
    assert rows["data"]["calls"] == rows["forward"]["calls"] == 1
    assert rows["backward"]["calls"] == 0
    assert step_statistics(times)["mean"] == pytest.approx(67.5)
    assert rows["other"]["share"] == pytest.approx(34 / 67.5)
    assert {name: row["part_of"] for name, row in rows.items() if row["part_of"]} == {
        "augmentation": "data",
        "average": "other",
    }


def test_an_accelerator_is_timed_by_its_own_clock_and_python_apart(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No accelerator at hand: events of a device that takes three times as long as Python takes to ask for it."""
    waits: list[torch.device] = []

    def wait(device: torch.device) -> None:
        waits.append(device)
        clock.now += 0.1

    class Passed:
        def __init__(self) -> None:
            self.at = -1.0

        def record(self) -> None:
            self.at = 3000 * clock.now

        def elapsed_time(self, end_event: Passed) -> float:
            assert waits, "read before the device was waited for"
            return end_event.at - self.at

    monkeypatch.setattr(torch.accelerator, "synchronize", wait)
    times = StageTimes(torch.device("cuda"), Passed)
    for _ in range(2):
        with times.step():
            spend(clock, 0, 2, 4, 8, 16, 32, 0)
    assert waits == []  # nothing waits in between
    times.end()
    rows = {row["stage"]: row for row in stage_rows(times)}
    assert {name: (rows[name]["mean_ms"], rows[name]["host_ms"]) for name in ("data", "optimizer", "forward")} == {
        "data": (pytest.approx(18), pytest.approx(6)),
        "optimizer": (pytest.approx(120), pytest.approx(40)),
        "forward": (pytest.approx(48), pytest.approx(16)),
    }
    assert rows["synchronisation"]["host_ms"] == pytest.approx(50)  # 100 ms over two steps
    assert step_statistics(times)["mean"] == pytest.approx(186)


def test_a_device_without_events_is_waited_for_at_the_end_of_each_step(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: torch.device) -> None:
        clock.now += 0.01

    monkeypatch.setattr(torch.accelerator, "synchronize", wait)
    times = StageTimes(torch.device("mps"))
    for _ in range(3):
        with times.step():
            spend(clock, 0, 2, 4, 8, 16, 32, 0)
    times.end()
    rows = {row["stage"]: row for row in stage_rows(times)}
    assert (rows["synchronisation"]["mean_ms"], rows["synchronisation"]["calls"]) == (pytest.approx(10), 1)
    assert step_statistics(times)["mean"] == pytest.approx(72)


def test_percentiles_are_those_of_pandas() -> None:
    values = [3.0, 1.0, 7.0, 7.5, 2.0, 11.0]
    for share in (0.0, 0.5, 0.95, 1.0):
        assert percentile(values, share) == pytest.approx(pandas.Series(values).quantile(share))


@pytest.mark.parametrize(
    ("seconds", "window"),
    [(0.0003, (10, 200, 20)), (0.05, (10, 100, 20)), (1.0, (1, 5, 2)), (60.0, (1, 3, 1))],
)
def test_long_steps_are_looked_at_for_fewer(
    seconds: float, window: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert Window.of(seconds) == Window(*window)


# ------------------------------------------------------------------------------------------------- what is said


def rows_with(**shares: float) -> list[dict[str, Any]]:
    """Rows of a table with these shares of a step of 10 ms; Python takes a tenth."""
    return [
        {"stage": name, "part_of": PARTS.get(name), "share": share, "mean_ms": 10 * share, "host_ms": share}
        for name, share in {**dict.fromkeys(STAGES, 0.0), **shares}.items()
    ]


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"forward": 0.38, "backward": 0.62}, "62 % of a step is the backward pass"),
        ({"data": 0.6, "forward": 0.4, "waiting": 0.5, "augmentation": 0.1}, "data takes 60 %: the next batch was not"),
        (
            {"data": 0.6, "forward": 0.4, "waiting": 0.1, "augmentation": 0.4},
            "data takes 60 %: most of that are the",
        ),
        ({"data": 0.6, "forward": 0.4, "gathering": 0.6}, "data takes 60 %: most of that is gathering"),
        ({"forward": 0.5, "optimizer": 0.5}, "the optimizer takes 50 %"),
        ({"forward": 0.5, "synchronisation": 0.5}, "50 % is waiting"),
        ({"forward": 0.5, "other": 0.5}, "50 % lies around the passes"),
    ],
)
def test_what_takes_long_is_said_and_nothing_else(shares: dict[str, float], said: str) -> None:
    found = findings(rows_with(**shares), {"mean": 10.0}, on_device=False)
    assert found[-1].startswith(said)
    assert len(found) == (1 if "backward" in shares else 2)


def test_a_device_that_waits_for_python_is_told_of() -> None:
    rows = rows_with(forward=0.5, backward=0.5)
    assert len(findings(rows, {"mean": 10.0}, on_device=True)) == 1
    slow = [{**row, "host_ms": row["mean_ms"]} for row in rows]
    assert findings(slow, {"mean": 10.0}, on_device=True)[1].startswith(
        "the device waits for Python, which takes 100 %"
    )


def test_of_an_update_that_is_replayed_both_times_are_told() -> None:
    found = findings(rows_with(other=1.0), {"mean": 10.0, "replayed": 2.5}, on_device=True)
    assert found[1].startswith("the run replays a recorded update (strategy.graph) in 2.5 ms; the stages are those")
    assert found[1].endswith("in 10 ms")


def test_of_a_pass_what_waited_for_others_is_synchronisation(clock: Clock) -> None:
    times = StageTimes(CPU)
    for _ in range(2):
        with times.step():
            spend(clock, 0, 1, 0, 0, 8, 0, 0)
    times.move(0, "forward", "synchronisation", 3.0)
    times.move(1, "forward", "synchronisation", 100.0)  # never more than there is
    rows = {row["stage"]: row["mean_ms"] for row in stage_rows(times)}
    assert (rows["forward"], rows["synchronisation"]) == (pytest.approx(2.5), pytest.approx(5.5))
    assert step_statistics(times)["mean"] == pytest.approx(9)


def test_processes_without_common_steps_are_not_profiled_and_that_is_said(tmp_path: Path) -> None:
    run, _, _ = prepare(tmp_path)
    hogwild = run.settings.model_copy(update={"parallel": Hogwild(kind="hogwild", processes=2)})
    shop = Workshop(tmp_path, DataCache(), Listener(), StopRequest())
    said: list[str] = []
    rehearsal.profile(replace(run, settings=hogwild), tmp_path, shop, None, said.append)
    assert said == ["not profiled: the processes of parallel hogwild have no steps in common; profile it without them"]


# ------------------------------------------------------------------------------------------------ profiled runs


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was profiled: an average, an augmentation, dropout, two passes a step."""
    folder = tmp_path_factory.mktemp("profiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Window, "of", FEW)
        (record,) = fit(folder, PLENTY, profile=True)
    assert record.status == "done", record.summary["reason"]
    return record.folder


PLENTY: dict[str, Any] = {
    "data": {"augment": [{"kind": "noise", "std": 0.1}]},
    "model": {"dropout": 0.2},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "strategy": {"average": {"kind": "ema", "decay": 0.9}, "accumulate": 2},
    "evaluation": {"every": {"steps": 9}},
}


def test_the_table_adds_up_to_the_step_and_pandas_reads_it_in_one_line(profiled: Path) -> None:
    table = pandas.read_csv(profiled / "profile.csv")
    stages = table[table.part_of.isna()]
    assert tuple(stages.stage) == STAGES
    step = read_profile(profiled)["step_ms"]["mean"]
    assert stages.mean_ms.sum() == pytest.approx(step, rel=1e-9)
    assert stages.share.sum() == pytest.approx(1, rel=1e-9)
    parts = table[table.part_of == "data"].set_index("stage").mean_ms
    assert set(parts.index) == {"gathering", "augmentation"}
    by_name = table.set_index("stage")
    assert parts.sum() < by_name.mean_ms["data"]
    assert by_name.calls[["data", "forward", "backward", "optimizer", "average"]].tolist() == [1, 2, 2, 1, 1]
    assert (by_name.mean_ms[["data", "forward", "backward", "optimizer", "average"]] > 0).all()
    assert (by_name.host_ms == by_name.mean_ms).all()


def test_operators_are_of_one_step(profiled: Path) -> None:
    table = pandas.read_csv(profiled / "profile_operators.csv").set_index("operator")
    assert table.calls["aten::addmm"] == 4  # two layers, two parts of a batch
    assert table.cpu_share.sum() == pytest.approx(1)
    assert table.device_self_ms.isna().all()
    assert not set(table.index) & {"step", *STAGES}
    assert table.cpu_self_ms.is_monotonic_decreasing


def test_the_trace_is_one_that_perfetto_opens(profiled: Path) -> None:
    trace = json.loads(gzip.decompress((profiled / "profile.trace.json.gz").read_bytes()))
    events = trace["traceEvents"]
    assert all({"ph", "name", "pid", "tid", "ts"} <= event.keys() for event in events)
    ranges = [event for event in events if event.get("cat") == "user_annotation"]
    assert all(event["ph"] == "X" and event["dur"] > 0 for event in ranges)
    counts = Counter(event["name"] for event in ranges)
    assert counts == {
        **dict.fromkeys(("step", "data", "data: gathering", "data: augmentation", "optimizer", "other: average"), 3),
        **dict.fromkeys(("forward", "backward"), 6),
    }
    (first, *_) = (event for event in ranges if event["name"] == "optimizer")
    inside = [event for event in ranges if event["name"] in ("forward", "backward")]
    nested = [one for one in inside if first["ts"] <= one["ts"] < first["ts"] + first["dur"]]
    assert len(nested) == 4
    assert any(event["name"] == "aten::addmm" for event in events)


def test_a_profile_changes_no_number_of_the_run(profiled: Path, tmp_path: Path) -> None:
    plain = fit_one(tmp_path, PLENTY)
    assert_same_bits(plain.folder, profiled)
    assert not any((plain.folder / name).exists() for name in FILES)
    seconds = summary_of(profiled)["seconds"]
    assert set(seconds) == set(plain.summary["seconds"])  # the window is in none of the run's accounts


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"kind": "lbfgs", "lr": 0.5}, "strategy": {"batch_size": "full"}, "budget": {"epochs": 3}},
        {"structure": {"prune": {"kind": "magnitude", "amount": 0.5, "schedule": {"kind": "one_shot", "at": 0.0}}}},
        {"strategy": {"batch_size": {"start": 32, "at": [0.5]}, "lr_decay": {"kind": "cosine"}}},
    ],
    ids=["lbfgs", "pruned", "growing batch"],
)
def test_a_profile_changes_no_number_of_an_unusual_run(changes: dict[str, Any], tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    plain = fit_one(folders[0], changes)
    (record,) = fit(folders[1], changes, profile=True)
    assert_same_bits(plain.folder, record.folder)
    rows = stages_of(record.folder)
    assert rows["forward"]["mean_ms"] > 0
    assert (rows["forward"]["calls"] > 1) == ("optimizer" in changes)


@pytest.mark.slow
def test_processes_that_train_together_are_profiled_together_also_when_they_are_done(
    cli: Cli, runs: Path, write_spec: Write
) -> None:
    spec = write_spec({"budget": {"steps": 4}, "parallel": {"kind": "ddp", "processes": 2}})
    cli("train", spec, "--quiet", "--runs-dir", "plain")
    folder = runs / "small/sgd/seed-0"
    for step in (0, 4):
        assert f" steps from step {step}: " in cli("train", spec, "--profile").stderr
        profile = read_profile(folder)
        assert (profile["from_step"], profile["processes"]) == (step, 2)
        rows = stages_of(folder)
        assert rows["synchronisation"]["mean_ms"] > 0
        stages = [row for row in rows.values() if row["part_of"] is None]
        assert sum(row["mean_ms"] for row in stages) == pytest.approx(profile["step_ms"]["mean"])
    assert_same_bits(Path("plain/small/sgd/seed-0"), folder)


# ------------------------------------------------------------------------------ what is slow is where it belongs


def longest_stage(folder: Path, changes: dict[str, Any]) -> str:
    """The stage that most steps of a rehearsal of DIGITS spend most time in: other work may disturb some of them."""
    (record,) = fit(folder, changes, profile=True)
    rows = stages_of(record.folder)
    longest = max((rows[name] for name in STAGES), key=lambda row: float(row["median_ms"]))
    assert longest["median_ms"] >= 1000 * SLEEP
    return str(longest["stage"])


SHORT = {"budget": {"steps": 1}}


def test_a_slow_augmentation_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = Feed.changed

    def slow(self: Feed, *args: Any) -> Any:
        self.augment = self.augment and late
        return changed(self, *args)

    def late(inputs: Tensor, targets: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        time.sleep(SLEEP)
        return inputs, targets

    monkeypatch.setattr(Feed, "changed", slow)
    changes = {**SHORT, "data": {"augment": [{"kind": "noise", "std": 0.1}]}}
    assert longest_stage(tmp_path, changes) == "data"
    rows = stages_of(tmp_path / "runs/small/sgd/seed-0")
    assert rows["augmentation"]["median_ms"] >= 1000 * SLEEP
    assert rows["gathering"]["median_ms"] < 1000 * SLEEP


def test_a_slow_optimizer_is_the_optimizer_though_the_passes_lie_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = RuleOptimizer.step

    def slow(self: RuleOptimizer, evaluate: Evaluate, lr: float, finite: Finite | None = None) -> None:
        step(self, evaluate, lr, finite)
        time.sleep(SLEEP)

    monkeypatch.setattr(RuleOptimizer, "step", slow)
    assert longest_stage(tmp_path, SHORT) == "optimizer"


def test_slow_gradients_are_the_backward_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backward = Tensor.backward

    def slow(self: Tensor, *args: Any) -> None:
        backward(self, *args)
        time.sleep(SLEEP)

    monkeypatch.setattr(Tensor, "backward", slow)
    assert longest_stage(tmp_path, SHORT) == "backward"


# ------------------------------------------------------------------------------------------- the command line


def test_the_command_line_shows_a_profile_and_keeps_it(
    cli: Cli, runs: Path, write_spec: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec({"budget": {"steps": 3}})
    printed = cli("train", spec, "--profile", "--quiet").stdout
    assert "USDT" not in capfd.readouterr().err  # torch's profiler would write there, past the progress bars
    assert " % of a step is " in printed
    assert "aten::addmm" in printed
    assert "trace for ui.perfetto.dev: " in printed
    shown = cli("show", "sgd/seed-0", "--profile").stdout
    assert shown.strip() in printed
    profile = json.loads(cli("show", "sgd/seed-0", "--profile", "--json").stdout)
    assert [row["stage"] for row in profile["stages"] if row["part_of"] is None] == list(STAGES)
    assert (profile["from_step"], profile["batch_size"], profile["clock"]) == (0, 64, "process")
    assert "profiled 12 steps from step 0" in (runs / "small/sgd/seed-0/run.log").read_text()

    before = {path: path.read_bytes() for path in (runs / "small/sgd/seed-0").rglob("*.??*") if is_of_run(path)}
    again = cli("train", spec, "--profile")
    assert "small/sgd/seed-0: done before, skipped" in again.stderr
    assert "profiled 12 steps from step 3" in again.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert len(before) > 5
    assert (
        json.loads(cli("train", spec, "--profile", "--json").stdout)["profiles"]["small/sgd/seed-0"]["from_step"] == 3
    )


def is_of_run(path: Path) -> bool:
    """Whether a file is the run's own, and no profile's."""
    return path.is_file() and path.name not in FILES and path.name != "run.log"


def test_several_runs_have_a_row_each(cli: Cli, write_spec: Write) -> None:
    ended = cli("train", write_spec({"budget": {"steps": 2}, "seeds": 2}), "--profile", "--quiet")
    lines = ended.stdout[ended.stdout.index("where the time of a step goes") :].splitlines()
    assert lines[1].split() == ["run", "ms", "a", "step", "data", "forward", "backward", "optimizer", "other"]
    assert [line.split()[0] for line in lines[3:5]] == ["sgd/seed-0", "sgd/seed-1"]
    assert "aten::addmm" not in ended.stdout


@pytest.mark.slow
def test_runs_side_by_side_are_profiled_with_a_warning_also_those_that_are_done(
    cli: Cli, runs: Path, write_spec: Write
) -> None:
    spec = write_spec({"budget": {"steps": 2}, "seeds": 2})
    cli("train", spec, "seeds=[0]", "--quiet")
    ended = cli("train", spec, "--profile", "--jobs", 2)
    assert "profiled side by side: runs disturb each other's times" in ended.stderr
    assert "small/sgd/seed-0: done before, skipped" in ended.stderr
    for seed, step in ((0, 2), (1, 0)):
        assert read_profile(runs / f"small/sgd/seed-{seed}")["from_step"] == step


def test_a_run_without_a_profile_says_how_to_have_one(cli: Cli, write_spec: Write) -> None:
    cli("train", write_spec({"budget": {"steps": 1}}), "--quiet")
    (line,) = cli("show", "sgd/seed-0", "--profile", code=2).errors
    assert line.endswith("has no profile.json: `nnopt train CONFIG --profile` writes one, of runs that are done too")


def test_a_rehearsal_that_fails_costs_a_note_and_no_run(
    cli: Cli, runs: Path, write_spec: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no profiler here\nand more")

    monkeypatch.setattr(rehearsal, "traced", broken)
    ended = cli("train", write_spec({"budget": {"steps": 1}}), "--profile", "--quiet")
    assert ended.errors == ["small/sgd/seed-0: not profiled: no profiler here"]
    assert summary_of(runs / "small/sgd/seed-0")["status"] == "done"


def test_a_resumed_run_is_profiled_from_its_checkpoint_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    changes = {"optimizer": {"kind": "adam", "lr": 0.01}}
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    plain = fit_one(folders[0], {**changes, "budget": {"epochs": 2}})
    fit_one(folders[1], {**changes, "budget": {"epochs": 1}})
    (longer,) = fit(folders[1], {**changes, "budget": {"epochs": 2}}, profile=True)
    assert read_profile(longer.folder)["from_step"] == 20
    assert_same_bits(plain.folder, longer.folder)
