"""What the tools themselves read from what our trackers wrote: metric -> {step: value}, and how often each was sent."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnopt.quiet import quiet

Curves = dict[str, list[tuple[int, float]]]  # every value sent, in the order sent


def tensorboard_curves(folder: Path) -> Curves:
    """By TensorBoard's EventAccumulator, without its sampling."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def mlflow_client(database: Path) -> Any:
    with quiet(("mlflow", "alembic"), {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}):
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=f"sqlite:///{database}")


def mlflow_run(database: Path, name: str) -> tuple[Any, Curves]:
    """By MlflowClient: the run of that name, which must be the only one, and its metrics."""
    client = mlflow_client(database)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = [run for run in client.search_runs(experiments) if run.info.run_name == name]
        assert len(runs) == 1
        run = runs[0]
        history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    return run, {key: [(metric.step, metric.value) for metric in values] for key, values in history.items()}


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format (blocks of 32 KiB) behind seven bytes, with W&B's messages.

    wandb 0.31 has no reader in Python any more; these are its own message classes.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0 or at + 7 + length > len(data):
            return
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(whole)
            whole = b""


def wandb_sittings(folder: Path) -> list[list[Any]]:
    """The records of every sitting of a run, in order."""
    return [list(wandb_records(file)) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def wandb_curves(folder: Path) -> Curves:
    curves: Curves = {}
    for record in (record for sitting in wandb_sittings(folder) for record in sitting):
        items = {_key(item): json.loads(item.value_json) for item in record.history.item}
        step = items.pop("_step", None)
        for name, value in items.items():
            if not name.startswith("_"):
                curves.setdefault(name, []).append((int(step), float(value)))
    return curves


def wandb_config(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The run's record and its hyperparameters."""
    run = next(record.run for record in wandb_sittings(folder)[-1] if record.WhichOneof("record_type") == "run")
    return run, {_key(item): json.loads(item.value_json) for item in run.config.update}


def wandb_summary(folder: Path) -> dict[str, Any]:
    updates = [item for sitting in wandb_sittings(folder) for record in sitting for item in record.summary.update]
    return {_key(item): json.loads(item.value_json) for item in updates}


def _key(item: Any) -> str:
    return str(item.key or "/".join(item.nested_key))
