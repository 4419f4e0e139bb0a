"""Hogwild: alone it trains as ever to the bit; together every update is made once, by somebody, and kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from command_line import Ended
from running import (
    Starter,
    assert_equal,
    copies_below,
    fit,
    fit_one,
    rows_of,
    state_of,
    summary_of,
    wait_for,
    write_digits,
)

from nnopt.spec.merge import merge
from nnopt.spec.metric_names import TRAFFIC
from nnopt.store.record import RunRecord
from nnopt.train import checkpoint

ADAM: dict[str, Any] = {"optimizer": {"kind": "adam", "lr": 0.01}}
TWO: dict[str, Any] = {"parallel": {"kind": "hogwild", "processes": 2}}
LONG: dict[str, Any] = {**ADAM, **TWO, "budget": {"epochs": 300}, "evaluation": {"every": {"epochs": 20}}}


# Between them they have all that an update may depend on.
SETTINGS: dict[str, dict[str, Any]] = {
    "batch norm, dropout, plateau": {
        **ADAM,
        "model": {"norm": "batch", "dropout": 0.2},
        "strategy": {"lr_decay": {"kind": "plateau", "patience": 1, "factor": 0.5}, "clip_norm": 0.5},
        "evaluation": {"every": {"epochs": 0.5}, "at_start": True},
        "checkpoint": {"every": {"steps": 7}},
    },
    "growing batch, parts, penalties": {
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
        "loss": {"l1": 1e-5, "l2": 1e-4},
        "strategy": {
            "batch_size": {"start": 30, "factor": 2, "at": [0.3, 0.6]},
            "accumulate": 2,
            "lr_decay": {"kind": "cosine", "warmup": 0.1},
        },
        "logging": {"every": 5},
    },
    "matrices": {"optimizer": {"kind": "muon", "lr": 0.02}, "strategy": {"clip_value": 0.01}, "budget": {"epochs": 1}},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_one_process_trains_as_ever_to_the_bit(tmp_path: Path, settings: dict[str, Any]) -> None:
    for name in ("ever", "alone"):
        (tmp_path / name).mkdir()
    ever = fit_one(tmp_path / "ever", settings)
    alone = fit_one(tmp_path / "alone", merge(settings, {"parallel": {"kind": "hogwild", "processes": 1}}))
    assert_same_but_traffic(ever, alone)
    assert alone.summary["bits_promised"] is True


def assert_same_but_traffic(ever: RunRecord, other: RunRecord) -> None:
    """Two runs agree to the last bit, but for the columns that only one of them has."""
    for name in ("metrics.csv", "steps.csv"):
        rows = [{key: cell for key, cell in row.items() if key not in TRAFFIC} for row in rows_of(other.folder / name)]
        assert rows == rows_of(ever.folder / name)
    ours, theirs = state_of(ever.folder), state_of(other.folder)
    for state in (ours, theirs):
        state["progress"].pop("traffic")
    theirs["progress"]["last_row"] = {
        key: value for key, value in theirs["progress"]["last_row"].items() if key not in TRAFFIC
    }
    assert_equal(ours, theirs)
    assert ever.summary["test"] == other.summary["test"]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A run of two processes that was trained to step 200, and then to step 400."""
    folder = tmp_path_factory.mktemp("hogwild")
    settings = merge(
        {**ADAM, **TWO, "model": {"norm": "batch", "dropout": 0.1}},
        {"evaluation": {"every": {"steps": 100}}, "budget": {"epochs": None, "steps": 200}},
    )
    first = fit_one(folder, settings)
    assert first.summary["steps"] == 200
    assert sum(steps_of_each(first)) == 200
    second = fit_one(folder, merge(settings, {"budget": {"steps": 400}}))
    assert second.folder == first.folder
    return second


def steps_of_each(record: RunRecord) -> list[int]:
    """How many updates each process made, as its own Adam counted them."""
    content = checkpoint.load(record.folder / checkpoint.FOLDER / checkpoint.LAST)
    memories = [content["state"]["optimizer"], *content["engine"]["optimizers"]]
    return [int(memory["steps"][0]) for memory in memories]


def test_every_update_is_made_once_by_one_of_them_and_kept_over_a_stop(resumed: RunRecord) -> None:
    mine, others = steps_of_each(resumed)
    assert mine + others == 400
    assert mine > 0
    assert others > 0
    assert [int(row["step"]) for row in rows_of(resumed.folder / "steps.csv")] == list(range(1, 401))
    model = state_of(resumed.folder)["model"]
    (tracked,) = (int(value) for name, value in model.items() if name.endswith("num_batches_tracked"))
    assert 0 < tracked <= 400  # two that count at once may lose one, as any write


def test_it_learns(resumed: RunRecord) -> None:
    assert resumed.summary["metrics"]["val_accuracy"]["best"] > 0.9


def test_staleness_is_in_the_rows_and_of_the_run_in_the_summary(resumed: RunRecord) -> None:
    rows = resumed.curve()
    summary = resumed.summary
    assert len(rows["staleness_mean"]) == 4
    assert all(value is not None and value > 0 for value in rows["updates_per_second"])
    assert summary["staleness_mean"] == pytest.approx(sum(rows["staleness_mean"]) / 4)
    assert summary["staleness_max"] == max(rows["staleness_max"])
    assert summary["staleness_mean"] <= summary["staleness_max"]
    assert summary["drift"] == 0
    assert summary["updates_per_second"] == pytest.approx(400 / summary["seconds"]["train"], rel=1e-3)
    assert summary["bits_promised"] is False
    assert summary["bits_reason"] == "processes write the weights in no fixed order"


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"optimizer": {"kind": "lbfgs", "lr": 1.0}}, "optimizer.kind", "searches along a line"),
        ({"structure": {"prune": {"kind": "magnitude", "amount": 0.5}}}, "structure", "changes on the way"),
        ({"strategy": {"average": {"kind": "ema"}}}, "strategy.average", "update by update"),
        ({"strategy": {"compile": True}}, "strategy.compile", "leave compile out"),
        ({"strategy": {"precision": "fp16"}}, "strategy.precision", "use bf16 or fp32"),
        ({"device": "cuda"}, "device", "write device: cpu"),
        (
            {"budget": {"epochs": None, "seconds": 1}, "strategy": {"batch_size": {"start": 8, "at": [0.5]}}},
            "strategy.batch_size",
            "grows with the seconds",
        ),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(
    cli: Callable[..., Ended], tmp_path: Path, settings: dict[str, Any], key: str, words: str
) -> None:
    ended = cli("train", write_digits(tmp_path, merge(TWO, settings)), code=2)
    assert len(ended.errors) == 1
    assert f"{key}:" in ended.errors[0]
    assert words in ended.errors[0]


@pytest.mark.slow
def test_a_killed_helper_ends_the_run_with_one_line_and_the_same_command_resumes(
    tmp_path: Path, starter: Starter
) -> None:
    spec = write_digits(tmp_path, {**LONG, "logging": {"every": 100}})
    folder = tmp_path / "runs/small/adam/seed-0"
    process = starter.start(tmp_path, "train", spec)
    kill_a_helper(process.pid, folder)
    assert process.wait() == 1
    reason = "process 2 of 2 was lost (killed by signal 9); the same command resumes"
    assert summary_of(folder)["reason"] == reason
    assert "Traceback" not in process.stderr + (folder / "run.log").read_text()

    again = starter.start(tmp_path, "train", spec, "--max-restarts", 1)
    wait_for(lambda: "resumed at step" in (folder / "run.log").read_text())
    kill_a_helper(again.pid, folder, count=2)
    assert again.wait() == 0, again.stderr
    log = (folder / "run.log").read_text()
    assert log.count("resumed at step") == 2
    assert "going on from the checkpoint (1 of 1)" in log
    assert summary_of(folder)["steps"] == 6000


def kill_a_helper(pid: int, folder: Path, count: int = 1) -> None:
    """Kills the helper of a run once it trains, the last of so many processes that the program started."""
    checkpoints = folder / "checkpoints"

    def newest() -> float:
        return max((path.stat().st_mtime for path in checkpoints.glob("last.pt")), default=0.0)

    before = newest()
    wait_for(lambda: newest() > before)
    helpers_of(pid, count)[-1].kill()  # after the worker that started it


def helpers_of(pid: int, count: int) -> list[psutil.Process]:
    """The workers and helpers that a program has started, the oldest first."""

    def found() -> list[psutil.Process]:
        program = psutil.Process(pid)
        try:
            helpers = [
                one for one in program.children(recursive=True) if "multiprocessing.spawn" in " ".join(one.cmdline())
            ]
            return sorted(copies_below(program) + helpers, key=lambda child: child.create_time())
        except psutil.NoSuchProcess:
            return []  # one ended while it was looked at: look again

    return list(wait_for(lambda: len(found()) == count and found()))


@pytest.mark.slow
def test_nothing_is_left_of_a_run_that_was_killed(tmp_path: Path, starter: Starter) -> None:
    spec = write_digits(
        tmp_path,
        {"budget": {"epochs": 10_000}, "variants": {"a": TWO, "b": {"parallel": {"kind": "hogwild", "processes": 3}}}},
    )
    process = starter.start(tmp_path, "train", spec, "--jobs", 2)
    helpers = helpers_of(process.pid, 5)  # two workers, and the helpers of each
    wait_for(lambda: len(list(tmp_path.glob("runs/small/*/seed-0/checkpoints/last.pt"))) == 2)
    process.send(signal.SIGKILL)
    wait_for(lambda: not any(helper.is_running() and helper.status() != "zombie" for helper in helpers))


@pytest.mark.slow
def test_a_signal_checkpoints_first_and_the_run_goes_on(tmp_path: Path, starter: Starter) -> None:
    spec = write_digits(tmp_path, LONG)
    process = starter.start(tmp_path, "train", spec)
    folder = tmp_path / "runs/small/adam/seed-0"
    wait_for(lambda: (folder / "checkpoints/last.pt").exists())
    process.send(signal.SIGTERM)
    assert process.wait() == 143
    stopped = summary_of(folder)["steps"]
    assert 0 < stopped < 6000
    starter.run(tmp_path, "train", spec)
    assert f"resumed at step {stopped} " in (folder / "run.log").read_text()
    assert [int(row["step"]) for row in rows_of(folder / "steps.csv")] == list(range(1, 6001))


@pytest.mark.slow
def test_a_helper_that_fails_tells_why(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("a,b,y\n" + "".join(f"{n},{n % 7},{n % 2}\n" for n in range(200)))
    settings = {"data": {"kind": "csv", "path": str(table), "target": "y"}, "strategy": {"batch_size": 16}}
    fit_one(tmp_path, settings)  # this process knows the data from now on
    table.unlink()
    (record,) = fit(tmp_path, merge(settings, TWO))
    assert record.status == "failed"
    assert record.summary["reason"].startswith("process 2 of 2: ")
    assert "points.csv" in record.summary["reason"]


@pytest.mark.slow
def test_a_budget_in_seconds_is_kept(tmp_path: Path) -> None:
    settings = {**TWO, "budget": {"epochs": None, "seconds": 1.0}, "evaluation": {"every": {"seconds": 0.3}}}
    record = fit_one(tmp_path, settings)
    assert record.summary["seconds"]["train"] >= 1.0
    assert 1 <= len(record.curve()["step"]) <= 4
    assert os.getpid() not in [child.pid for child in psutil.Process().children()]


def test_weights_are_one_thing_in_two_networks() -> None:
    """What one network learns in shared memory, another one that took it over has as well."""
    from nnopt.optim.parameters import FlatParameters
    from nnopt.train.parallel.shared_memory import SharedNetwork

    ours, theirs = (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)) for _ in range(2))
    first, second = (FlatParameters(model, first=["0.weight"]) for model in (ours, theirs))
    optimizer = torch.optim.SGD(second.values, lr=0.5)
    SharedNetwork.of(first, ours).take_over(second, theirs)
    theirs(torch.randn(4, 3)).square().sum().backward()  # moves the running means
    second.add_penalty_gradient(0.0, 0.1)
    optimizer.step()
    assert first.values[0].is_shared()
    assert_equal(dict(ours.state_dict()), dict(theirs.state_dict()))
    expected = first.gradients[0].clone()
    assert float(expected.abs().sum()) == 0  # gradients are each one's own
