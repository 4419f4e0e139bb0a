"""What a tracked run leaves in each tool, read back with that tool's own reader."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tool_readers as tools
from running import fit

from nnopt.store.record import RunRecord

ALL = ["tensorboard", "mlflow", "wandb"]
SPEC: dict[str, Any] = {
    "track": ALL,
    "tags": ["first", "of two"],
    "notes": "what was tried",
    "budget": {"epochs": 3},
    "logging": {"every": 7},
    "evaluation": {"at_start": True, "target": {"metric": "val_accuracy", "value": 0.2}},
}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A run that all three followed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY"):
            patch.delenv(name, raising=False)
        patch.setenv("NETRC", "/dev/null")
        (record,) = fit(tmp_path_factory.mktemp("tracked"), SPEC)
    assert record.status == "done"
    return record


def expected(record: RunRecord) -> dict[str, dict[int, float]]:
    """metrics.csv and steps.csv as curves without empty cells."""
    curves: dict[str, dict[int, float]] = {}
    for prefix, columns in (("", record.curve()), ("steps/", record.steps())):
        for name, values in columns.items():
            pairs = zip(columns["step"], values, strict=True)
            curves[prefix + name] = {int(step or 0): value for step, value in pairs if value is not None}
        del curves[f"{prefix}step"]
    return {name: curve for name, curve in curves.items() if curve}


def assert_sent_once(found: tools.Curves, record: RunRecord, relative: float) -> None:
    wanted = expected(record)
    curves = {name: points for name, points in found.items() if not name.startswith("final/")}
    assert curves.keys() == wanted.keys()
    for name, points in curves.items():
        assert [step for step, _ in sorted(points)] == sorted(wanted[name]), name
        assert dict(points) == pytest.approx(wanted[name], rel=relative, abs=0), name


def filled(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


READERS: dict[str, tuple[Callable[[RunRecord], tools.Curves], float]] = {
    "tensorboard": (lambda record: tools.tensorboard_curves(record.folder / "tensorboard"), 2**-23),
    "mlflow": (lambda record: tools.mlflow_run(record.folder.parents[2] / "mlflow.db", "sgd/seed-0")[1], 0),
    "wandb": (lambda record: tools.wandb_curves(record.folder), 0),
}


@pytest.mark.parametrize("tool", ALL)
def test_every_row_is_in_the_tool_once_at_its_step(tracked: RunRecord, tool: str) -> None:
    read, relative = READERS[tool]
    assert len(tracked.curve()["step"]) == 4
    assert len(tracked.steps()["step"]) == 1 + 60 // 7
    assert_sent_once(read(tracked), tracked, relative)


def test_tensorboard_shows_settings_tags_and_the_end(tracked: RunRecord) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    accumulator = EventAccumulator(str(tracked.folder / "tensorboard")).Reload()
    content = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["optimizer.lr"].number_value == 0.1
    assert hparams["optimizer.kind"].string_value == "sgd"
    assert hparams["optimizer.nesterov"].bool_value is False
    assert hparams["model.hidden"].string_value == "[16]"
    assert hparams["seed"].number_value == 0
    texts = {tag: accumulator.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in ("nnopt/tags",)}
    assert texts == {"nnopt/tags": "first, of two"}
    status = accumulator.Tensors("nnopt/status")[-1]
    assert (status.step, status.tensor_proto.string_val) == (60, [b"done: the budget is used up"])
    end = accumulator.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert HParamsPluginData.FromString(end).session_end_info.status == 1  # STATUS_SUCCESS
    test = tracked.summary["test"]["best"]["accuracy"]
    assert accumulator.Scalars("final/test/best/accuracy")[-1].value == pytest.approx(test)
    assert accumulator.Scalars("final/target/step")[-1].value == tracked.summary["target"]["step"]


def test_mlflow_shows_settings_tags_and_the_end(tracked: RunRecord) -> None:
    runs_dir = tracked.folder.parents[2]
    run, curves = tools.mlflow_run(runs_dir / "mlflow.db", "sgd/seed-0")
    assert run.info.status == "FINISHED"
    assert {
        "optimizer.lr": "0.1",
        "model.hidden": "[16]",
        "seed": "0",
        "variant": "sgd",
    }.items() <= run.data.params.items()
    assert run.data.tags["nnopt.tags"] == "first, of two"
    assert run.data.tags["mlflow.note.content"] == "what was tried"
    assert run.data.tags["nnopt.status"] == "done"
    assert curves["final/test/last/loss"] == [(60, tracked.summary["test"]["last"]["loss"])]
    (experiment,) = [e for e in tools.mlflow_client(runs_dir / "mlflow.db").search_experiments() if e.name == "small"]
    assert experiment.experiment_id == run.info.experiment_id


def test_wandb_shows_settings_tags_and_the_end(tracked: RunRecord) -> None:
    run, config = tools.wandb_config(tracked.folder)
    assert (run.project, run.run_group, run.display_name) == ("small", "sgd", "sgd/seed-0")
    assert (list(run.tags), run.notes) == (["first", "of two"], "what was tried")
    assert {"optimizer.lr": 0.1, "model.hidden": "[16]", "seed": 0}.items() <= config.items()
    summary = tools.wandb_summary(tracked.folder)
    assert summary["status"] == "done"
    assert summary["final/test/last/accuracy"] == tracked.summary["test"]["last"]["accuracy"]
    (sitting,) = tools.wandb_sittings(tracked.folder)
    assert [record.exit.exit_code for record in sitting if record.WhichOneof("record_type") == "exit"] == [0]


def test_wandb_itself_finds_a_run_to_sync(tracked: RunRecord) -> None:
    (folder,) = tracked.folder.glob("wandb/offline-run-*")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("wandb")), "sync", "--dry-run", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert folder.name in done.stdout + done.stderr


def test_following_is_no_part_of_what_is_trained(tracked: RunRecord, tmp_path: Path) -> None:
    (plain,) = fit(tmp_path, {**SPEC, "track": []})
    assert plain.spec_hash == tracked.spec_hash
    for name, values in plain.curve().items():
        if not name.endswith(("_seconds", "_per_second")) and not name.startswith("memory_"):
            assert tracked.curve()[name] == values, name
    assert not list(tmp_path.rglob("track.json"))


@pytest.mark.parametrize(("source", "relative"), [("small", 2**-23), ("mlflow.db", 0)])
def test_what_a_tool_has_can_be_imported_and_compared(
    tracked: RunRecord, source: str, relative: float, cli: Callable[..., Any], runs: Path
) -> None:
    cli("import", tracked.folder.parents[2] / source, "--experiment", "small" if source == "mlflow.db" else "again")
    (folder,) = runs.glob("*/sgd/seed-0")
    again = RunRecord.read(folder)
    for ours, theirs in ((tracked.curve(), again.curve()), (tracked.steps(), again.steps())):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert filled(theirs[name]) == pytest.approx(filled(values), rel=relative, abs=0, nan_ok=True), name
    for key in ("status", "reason", "seed", "variant", "tags", "notes", "steps", "samples", "epochs", "task", "select"):
        assert again.summary[key] == tracked.summary[key], key
    for key in ("optimizer", "model", "data", "budget", "strategy"):
        assert again.summary["spec"][key] == tracked.summary["spec"][key], key
    assert again.summary["test"]["best"] == pytest.approx(tracked.summary["test"]["best"], rel=1e-6)
    ours, theirs = tracked.summary["target"], again.summary["target"]
    assert theirs.pop("metric") == ours["metric"]
    assert theirs == pytest.approx({key: value for key, value in ours.items() if key != "metric"}, rel=1e-6)
    assert again.summary["imported"]["clock"] == "given"
    shown = cli("compare", str(tracked.folder), str(folder)).stdout
    assert shown.count("0.") > 4
    assert "sgd" in cli("show", str(folder)).stdout
    assert "done" in cli("list").stdout
