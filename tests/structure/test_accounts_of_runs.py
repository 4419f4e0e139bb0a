"""What a run says of its network: summary.json, network.json, and `nnopt show`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ended
from running import StopAfter, assert_same_bits, fit, fit_one, prepare, state_of

from nnopt.errors import Interrupted
from nnopt.train import accounts
from nnopt.train.accounts import TIMES, take_accounts

pytestmark = pytest.mark.usefixtures("undrawn")

WHOLE = 64 * 16 + 16 + 16 * 10 + 10
CUT = {"structure": {"low_rank": {"rank": 2}}}
CUT_PARAMETERS = (64 + 16) * 2 + 16 + (16 + 10) * 2 + 10
WORK = 64 * 16 + 16 * 10


def test_every_run_has_the_accounts_of_its_network(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"strategy": {"batch_size": 100}, "evaluation": {"batch_size": 50}})
    summary = record.summary
    assert (summary["parameters"], summary["nonzero_parameters"]) == (WHOLE, WHOLE)
    assert summary["multiply_adds"] == WORK
    assert 4 * WHOLE < summary["network_bytes"] < 4 * WHOLE + 3000
    assert 1e-6 < summary["latency_seconds"] <= summary["latency_p95_seconds"]
    assert 1e-6 < summary["batch_latency_seconds"] <= summary["batch_latency_p95_seconds"]
    assert summary["inference_batch"] == 50, "of what a pass of an evaluation holds at most"
    assert summary["inference_samples_per_second"] == pytest.approx(50 / summary["batch_latency_seconds"])
    assert "before" not in summary
    network = json.loads((record.folder / "network.json").read_text())
    assert (network["device"], network["threads"], network["precision"]) == ("cpu", summary["threads"], "fp32")
    assert network["before"] is None
    assert [layer["name"] for layer in network["after"]["layers"]] == ["0", "1", "2", "3"]
    assert all(network["after"][name] == summary[name] for name in TIMES)


def test_a_changed_network_has_accounts_before_and_after(tmp_path: Path) -> None:
    summary = fit_one(tmp_path, CUT).summary
    assert (summary["before"]["parameters"], summary["parameters"]) == (WHOLE, CUT_PARAMETERS)
    assert (summary["before"]["multiply_adds"], summary["multiply_adds"]) == (WORK, (64 + 16 + 16 + 10) * 2)
    assert summary["before"]["network_bytes"] > summary["network_bytes"]
    assert set(TIMES) < set(summary["before"])
    assert all(summary["before"][name] > 0 for name in TIMES)


def test_a_resumed_run_keeps_the_times_of_its_beginning(tmp_path: Path) -> None:
    late = {"structure": {"low_rank": {"rank": 2, "at": 0.9}}}
    with pytest.raises(Interrupted):
        fit(tmp_path, late, StopAfter(1))
    (path,) = tmp_path.glob("runs/*/*/seed-0/summary.json")
    stopped = json.loads(path.read_text())
    assert (stopped["status"], stopped["parameters"]) == ("interrupted", WHOLE)
    assert stopped["before"]["latency_seconds"] > 0
    (record,) = fit(tmp_path, late)
    assert record.summary["before"] == stopped["before"]
    assert record.summary["parameters"] == CUT_PARAMETERS


def test_measuring_changes_no_bit_of_a_run(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"model": {"dropout": 0.3}, **CUT}
    folders = tmp_path / "timed", tmp_path / "untimed"
    for folder in folders:
        folder.mkdir()
    timed = fit_one(folders[0], changes)
    untimed = fit_one(folders[1], {**changes, "logging": {"latency": False}})
    assert_same_bits(timed.folder, untimed.folder)
    for summary in (untimed.summary, untimed.summary["before"]):
        assert all(summary[name] is None for name in TIMES)
        assert summary["multiply_adds"] > 0


def test_accounts_are_of_averaged_weights(tmp_path: Path) -> None:
    _, setup, state = prepare(tmp_path, {"strategy": {"average": {"kind": "ema", "decay": 0.9}}})
    assert state.average is not None
    state.average.update(0.0, 1, 64, 0.1)
    for values in state.average.values:
        values.zero_()
    own = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    assert take_accounts(setup, state, is_timed=False)["nonzero_parameters"] == 0
    assert all(torch.equal(tensor, own[name]) for name, tensor in state.model.state_dict().items())


def test_accounts_are_of_the_network_that_is_delivered(tmp_path: Path) -> None:
    record = fit_one(tmp_path, {"structure": {"quantise": {"kind": "int8_weight_only"}}})
    layers = json.loads((record.folder / "network.json").read_text())["after"]["layers"]
    assert [layer["bits"] for layer in layers if layer["parameters"]] == [8, 8]
    saved = WHOLE - 26  # weights without biases: three of four bytes each
    difference = record.summary["before"]["network_bytes"] - record.summary["network_bytes"]
    assert difference == pytest.approx(3 * saved, abs=1000)


def test_a_diverged_run_has_accounts_and_a_model_that_refuses_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lost,) = fit(tmp_path, {"name": "lost", "optimizer": {"lr": 1e30}})
    assert lost.status == "diverged"
    assert lost.summary["multiply_adds"] == WORK

    def refuse(*_: object) -> None:
        raise RuntimeError("one sample is too few")

    monkeypatch.setattr(accounts, "account_of_layers", refuse)
    record = fit_one(tmp_path)
    assert (record.summary["parameters"], record.summary.get("multiply_adds")) == (WHOLE, None)
    assert "are not recorded: one sample is too few" in (record.folder / "run.log").read_text()
    assert state_of(record.folder)["progress"]["step"] == 40


def test_show_prints_the_layers(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    spec = write_spec({"variants": {"whole": {}, "cut": CUT, "untimed": {"logging": {"latency": False}}}})
    cli("train", spec)
    shown = cli("show", "cut/seed-0").stdout
    assert f"{CUT_PARAMETERS} (before: {WHOLE:,})" in shown
    assert "ms for 1 sample, 95 % within" in shown
    assert "ms for 64 samples" in shown
    assert "latency" not in cli("show", "untimed/seed-0").stdout.replace("logging.latency", "")

    lines = [line.split() for line in cli("show", "cut/seed-0", "--layers").stdout.splitlines()]
    assert ["1.0", "Linear", "64", "2", "128", "0", "%", "32", "128", "-", "-"] in lines
    assert ["0", "Flatten", "1x8x8", "64", "0", "-", "-", "0", "0", "0"] in lines
    assert not any("ReLU" in line for line in lines), "it has no parameters and keeps the shape"
    assert ["parameters", f"{WHOLE:,}", f"{CUT_PARAMETERS}", "x", f"{CUT_PARAMETERS / WHOLE:.3g}"] in lines
    whole = cli("show", "whole/seed-0", "--layers").stdout
    assert ["1", "Linear", "64", "16", "1,040", "0", "%", "32", "1,024"] in [
        line.split() for line in whole.splitlines()
    ]
    assert "before" not in whole
    assert "on cpu with 1 thread, fp32" in whole
    monkeypatch.setenv("COLUMNS", "50")
    narrow = [line.split() for line in cli("show", "cut/seed-0", "--layers").stdout.splitlines()]
    assert ["1.0", "Linear", "64", "2", "128", "0", "%"] in narrow, "what does not fit stands below"
    told = json.loads(cli("show", "cut/seed-0", "--layers", "--json").stdout)
    assert (told["before"]["parameters"], told["after"]["parameters"]) == (WHOLE, CUT_PARAMETERS)


def test_a_run_without_layers_is_said_in_a_line(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path
) -> None:
    cli("train", write_spec())
    path = runs / "small" / "sgd" / "seed-0" / "network.json"
    for content, words in (
        ("{", "is damaged"),
        ('{"schema": 1}', "it has no account of a network"),
        ('{"schema": 9, "after": {}}', "take a newer one"),
        (None, "an earlier nnopt trained it: --fresh trains it again"),
    ):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        (line,) = cli("show", "sgd/seed-0", "--layers", code=2).errors
        assert words in line
        assert "network.json" in line
