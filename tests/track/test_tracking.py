"""Trackers beside a run: nothing is sent twice, nothing that fails harms the run, nothing is printed."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tool_readers as tools
from command_line import Ended
from running import DIGITS, Starter, StopAfter, Told, fit, fit_one, plan_of, summary_of, wait_for, write_digits

from nnopt.errors import Interrupted, SpecError, UsageError
from nnopt.spec.experiment import TRACKERS as NAMES
from nnopt.spec.loading import load
from nnopt.store.record import RunRecord
from nnopt.track import tracking
from nnopt.track.tracker import Outcome, Point, Tracker, flatten
from nnopt.track.wandb import is_logged_in
from nnopt.train.experiment import Options, train_plan

LABEL = "small/sgd/seed-0"


class Memory(Tracker):
    """Keeps what it is told, and fails where a test wants it to."""

    modules = ("json",)
    points: ClassVar[list[Point]] = []
    ends: ClassVar[list[Outcome]] = []
    begun: ClassVar[list[str | None]] = []
    fails_at: ClassVar[str] = ""
    fails_from: ClassVar[int] = 0

    @classmethod
    def reset(cls, fails_at: str = "", fails_from: int = 0) -> None:
        cls.points, cls.ends, cls.begun = [], [], []
        cls.fails_at, cls.fails_from = fails_at, fails_from

    def _fail(self, where: str) -> None:
        if where == self.fails_at:
            raise ConnectionError(f"no way\nto {where}")

    def begin(self, run_id: str | None) -> str:
        self._fail("begin")
        self.begun.append(run_id)
        return run_id or "mine"

    def send(self, points: Sequence[Point]) -> None:
        if points[-1].step >= self.fails_from:
            self._fail("send")
        self.points.extend(points)

    def end(self, outcome: Outcome) -> None:
        self._fail("end")
        self.ends.append(outcome)

    def close(self) -> None:
        self._fail("close")


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Memory]]:
    """`track: [wandb]` is the tracker of this file, but in tests that ask for the others."""
    Memory.reset()
    monkeypatch.setitem(tracking.TRACKERS, "wandb", Memory)
    yield Memory
    Memory.reset()


def sent_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "track.json").read_text()))


def test_the_spec_names_just_the_trackers_there_are() -> None:
    assert set(NAMES) == set(tracking.TRACKERS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            ["tensorbord"],
            "no tracker is called 'tensorbord'; did you mean 'tensorboard'?; known: tensorboard, mlflow, wandb",
        ),
        (["mlflow", "mlflow"], "mlflow is named twice"),
        ("mlflow", "should be a list such as [1, 2], not the text 'mlflow'"),
    ],
)
def test_a_tracker_that_is_none_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load(write_digits(tmp_path, {"track": value}))
    assert message in str(error.value)
    assert "track" in str(error.value)


def test_a_run_repeats_the_key_and_its_hash_does_not_know_of_it(tmp_path: Path) -> None:
    run = plan_of(tmp_path, {"track": ["mlflow", "wandb"]}).runs[0]
    assert run.hash == plan_of(tmp_path).runs[0].hash
    (tmp_path / "again.yaml").write_text(run.as_file())
    assert load(tmp_path / "again.yaml").track == ("mlflow", "wandb")
    assert "track" not in plan_of(tmp_path).runs[0].as_file()
    assert load(write_digits(tmp_path), ["track=[tensorboard]"]).track == ("tensorboard",)


def test_settings_under_dotted_keys() -> None:
    nested = {"a": {"b": 1, "c": {"d": True}}, "e": [1, {"f": 2}], "g": None, "h": "x"}
    assert flatten(nested) == {"a.b": 1, "a.c.d": True, "e": '[1, {"f": 2}]', "h": "x"}


# ----------------------------------------------------------------------------------------- once, and in order


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, memory: type[Memory]) -> None:
    spec = {"track": ["wandb"], "budget": {"epochs": 5}, "logging": {"every": 3}}
    with pytest.raises(Interrupted):
        fit(tmp_path, spec, StopAfter(2))
    folder = tmp_path / "runs" / LABEL
    assert [end.status for end in memory.ends] == ["interrupted"]
    assert sent_of(folder) == {"wandb": {"id": "mine", "row_step": 40, "logged_step": 39}}
    record = fit_one(tmp_path, spec)
    assert memory.begun == [None, "mine"]
    assert [end.status for end in memory.ends] == ["interrupted", "done"]
    values: dict[str, list[tuple[int, float]]] = {}
    for point in memory.points:
        for name, value in point.values.items():
            values.setdefault(name, []).append((point.step, value))
    curve, steps = record.curve(), record.steps()
    for name in ("val_loss", "train_loss", "epoch"):
        assert values[name] == list(zip(curve["step"], curve[name], strict=True))
    assert values["steps/loss"] == list(zip(steps["step"], steps["loss"], strict=True))
    steps_sent = [point.step for point in memory.points]
    assert steps_sent == sorted(set(steps_sent)), "one point a step, as wandb asks for"


def test_a_longer_budget_goes_on_too(tmp_path: Path, memory: type[Memory]) -> None:
    fit_one(tmp_path, {"track": ["wandb"]})
    fit_one(tmp_path, {"track": ["wandb"], "budget": {"epochs": 4}})
    assert [point.step for point in memory.points if "val_loss" in point.values] == [20, 40, 60, 80]
    assert [end.step for end in memory.ends] == [40, 80]


def test_a_tracker_that_joins_late_is_sent_what_it_missed(tmp_path: Path, memory: type[Memory]) -> None:
    fit_one(tmp_path)
    fit_one(tmp_path, {"track": ["wandb"], "budget": {"epochs": 3}})
    assert [point.step for point in memory.points if "val_loss" in point.values] == [20, 40, 60]
    assert [point.step for point in memory.points] == list(range(1, 61))


def test_logged_steps_do_not_wait_for_a_distant_evaluation(
    tmp_path: Path, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "SECONDS_BETWEEN_STEPS", 0.0)
    monkeypatch.setattr("nnopt.train.loop.PULSE_SECONDS", 0.0)
    record = fit_one(tmp_path, {"track": ["wandb"], "evaluation": {"every": {"steps": 40}}})
    assert [point.step for point in memory.points] == list(range(1, 41)), "each once, and in order"
    assert memory.points[-1].values["val_loss"] == record.curve()["val_loss"][-1]
    assert memory.points[-1].values["steps/loss"] == record.steps()["loss"][-1]


def test_a_damaged_track_json_begins_anew(tmp_path: Path, memory: type[Memory]) -> None:
    fit_one(tmp_path, {"track": ["wandb"]})
    (tmp_path / "runs" / LABEL / "track.json").write_text('{"wandb": {"id": "mine", "row')
    fit_one(tmp_path, {"track": ["wandb"], "budget": {"epochs": 3}})
    assert memory.begun == [None, None]


# ---------------------------------------------------------------------------------------------- what fails


@pytest.mark.parametrize("where", ["begin", "send", "end"])
def test_a_tracker_that_fails_is_said_once_and_ends_no_run(tmp_path: Path, memory: type[Memory], where: str) -> None:
    memory.reset(fails_at=where)
    told = Told()
    record = fit_one(tmp_path, {"track": ["wandb"]}, told)
    notes = [words for words in told.words if words[0] == "note"]
    assert notes == [("note", LABEL, f"wandb is switched off for now, training goes on: no way to {where}")]
    assert (record.folder / "run.log").read_text().count("switched off") == 1
    assert told.words[-1][2] == "done"


def test_the_next_sitting_sends_what_a_failure_left_out(tmp_path: Path, memory: type[Memory]) -> None:
    memory.reset(fails_at="send", fails_from=40)
    fit_one(tmp_path, {"track": ["wandb"], "budget": {"epochs": 3}})
    assert [point.step for point in memory.points] == list(range(1, 21))
    memory.fails_at = ""
    fit_one(tmp_path, {"track": ["wandb"], "budget": {"epochs": 4}})
    assert [point.step for point in memory.points] == list(range(1, 81))


def test_a_run_that_diverges_says_so(tmp_path: Path, memory: type[Memory]) -> None:
    (record,) = fit(tmp_path, {"track": ["wandb"], "optimizer": {"lr": 1e30}})
    assert record.status == "diverged"
    (end,) = memory.ends
    assert (end.status, end.reason) == ("diverged", record.summary["reason"])
    assert [point.step for point in memory.points] == [int(step or 0) for step in record.steps()["step"]]


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorboard"), ("mlflow", "sqlalchemy")])
def test_a_tracker_that_is_not_installed_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted, *rest: None if wanted == module else find(wanted, *rest)
    )
    plan = plan_of(tmp_path, {"track": [name]})
    with pytest.raises(UsageError, match=rf"^track: {name} is not installed here: pip install 'nnopt\[{name}\]'$"):
        train_plan(plan, Options(tmp_path / "runs"), Told())
    assert not (tmp_path / "runs").exists()


def test_a_server_that_is_away_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = Told()
    fit_one(tmp_path, {"track": ["mlflow"]}, told)
    (note,) = [words[2] for words in told.words if words[0] == "note"]
    assert note.startswith("mlflow is switched off for now, training goes on: ")
    assert "\n" not in note


@pytest.mark.parametrize(
    ("environment", "netrc", "answer"),
    [
        ({}, "", False),
        ({"WANDB_API_KEY": "k"}, "", True),
        ({}, "machine api.wandb.ai login user password k", True),
        ({}, "machine elsewhere.org login user password k", False),
        ({"WANDB_BASE_URL": "https://elsewhere.org"}, "machine elsewhere.org login user password k", True),
        ({}, "machine api.wandb.ai nonsense", False),
    ],
)
def test_wandb_is_online_only_for_those_who_are_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], netrc: str, answer: bool
) -> None:
    (tmp_path / "netrc").write_text(netrc)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_logged_in() is answer


# ---------------------------------------------------------------------------------------- real processes

REAL = {"track": ["tensorboard", "mlflow", "wandb"], "evaluation": {"every": {"steps": 50}}, "logging": {"every": 10}}


def sent_to(folder: Path, runs_dir: Path) -> dict[str, tools.Curves]:
    return {
        "tensorboard": tools.tensorboard_curves(folder / "tensorboard"),
        "mlflow": tools.mlflow_run(runs_dir / "mlflow.db", "sgd/seed-0")[1],
        "wandb": tools.wandb_curves(folder),
    }


def times_sent(points: Sequence[tuple[int, float]]) -> Counter[int]:
    return Counter(step for step, _ in points)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_and_resumed_has_each_row_once(tmp_path: Path, starter: Starter, number: int) -> None:
    folder = tmp_path / "runs" / LABEL
    write_digits(tmp_path, {**REAL, "budget": {"steps": 2000}})
    process = starter.start(tmp_path, "train", "spec.yaml")
    wait_for(lambda: (folder / "track.json").exists() and sent_of(folder)["wandb"]["row_step"] > 100)
    process.send(number)
    assert process.wait() == (-number if number == signal.SIGKILL else 130)
    if number == signal.SIGINT:
        run, _ = tools.mlflow_run(tmp_path / "runs" / "mlflow.db", "sgd/seed-0")
        assert run.info.status == "KILLED"
        assert process.stderr.splitlines()[-1].startswith("error: interrupted")
    before = sent_of(folder)
    starter.run(tmp_path, "train", "spec.yaml")
    assert {tool: sent["id"] for tool, sent in sent_of(folder).items()} == {
        tool: sent["id"] for tool, sent in before.items()
    }
    record = RunRecord.read(folder)
    for tool, curves in sent_to(folder, tmp_path / "runs").items():
        for name, columns in (("val_loss", record.curve()), ("steps/loss", record.steps())):
            column = name.removeprefix("steps/")
            wanted = {int(step or 0): value for step, value in zip(columns["step"], columns[column], strict=True)}
            assert dict(curves[name]) == pytest.approx(wanted, rel=1e-6), (tool, name)
            again = [step for step, count in times_sent(curves[name]).items() if count > 1]
            # Sent, and killed before it was noted: one batch, that of one evaluation, may come again.
            most = {"val_loss": 1, "steps/loss": 5}[name] if number == signal.SIGKILL else 0
            assert len(again) <= most, (tool, name, again)


@pytest.mark.slow
def test_two_runs_at_a_time_share_a_new_database(tmp_path: Path, starter: Starter) -> None:
    write_digits(tmp_path, {"track": ["mlflow"], "seeds": 4})
    process = starter.run(tmp_path, "train", "spec.yaml", "--jobs", 2, "--quiet")
    assert process.stderr == ""
    for seed in range(4):
        run, curves = tools.mlflow_run(tmp_path / "runs" / "mlflow.db", f"sgd/seed-{seed}")
        assert run.info.status == "FINISHED"
        assert [step for step, _ in curves["val_loss"]] == [20, 40]


@pytest.mark.slow
def test_nothing_is_printed_and_nothing_asked(
    program: Callable[..., Ended], write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    ended = program("train", write_spec({"track": ["tensorboard", "mlflow", "wandb"]}), "--quiet", PYTHONWARNINGS="")
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1].startswith("written: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "spec.yaml"], "no mlruns, no wandb folder"


@pytest.mark.slow
def test_wandb_without_network_does_not_hold_the_program_up(
    program: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    """The server takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        spec = write_spec({"track": ["wandb"]})
        begin = time.monotonic()
        ended = program("train", spec, WANDB_MODE="online", WANDB_API_KEY="0" * 40, WANDB_BASE_URL=address)
        assert time.monotonic() - begin < 90
    assert "done" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sum("switched off" in line for line in ended.stderr.splitlines()) == 1


@pytest.mark.slow
def test_wandb_online_without_an_account_is_said(
    program: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    ended = program("train", write_spec({"track": ["wandb"]}), "-q", WANDB_MODE="online")
    (line,) = ended.errors
    assert line.startswith("small/sgd/seed-0: wandb is switched off for now, training goes on: WANDB_MODE is online")


def test_a_run_that_is_not_followed_imports_no_tool(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nnopt import train\n"
        f"train({str(write_digits(tmp_path))!r}, 'budget.epochs=1', runs_dir={str(tmp_path / 'runs')!r})\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorboard", "mlflow", "wandb", "sqlalchemy"} & set(done.stdout.split())


def test_threads_of_a_tool_do_not_outlive_a_run(tmp_path: Path) -> None:
    before = threading.active_count()
    fit_one(tmp_path, {"track": ["tensorboard", "mlflow"]})
    assert threading.active_count() == before
    assert summary_of(tmp_path / "runs" / LABEL)["status"] == "done"
    assert DIGITS["seeds"] == 1
