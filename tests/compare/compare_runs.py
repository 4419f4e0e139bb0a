"""Run folders written by hand, as `train` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnopt.store.record import RunRecord

Cell = float | int | str | None


def write_csv(path: Path, columns: Mapping[str, Sequence[Cell]]) -> None:
    rows = zip(*columns.values(), strict=True)
    lines = [
        ",".join(columns),
        *(",".join("" if cell is None else str(cell) for cell in row) for row in rows),
    ]
    path.write_text("".join(f"{line}\n" for line in lines))


def summary_of(variant: str, experiment: str, metric: str, seconds: float) -> dict[str, Any]:
    """What summary.json says of a run beside its name."""
    return {
        "trial": None,
        "reason": None,
        "spec": {"optimizer": {"kind": variant, "lr": 0.1}},
        "spec_hash": f"{experiment}-{variant}",
        "task": "classification",
        "select": metric,
        "test": None,
        "target": None,
        "seconds": {"train": seconds},
        "samples_per_second": 1000.0,
        "memory_peak_bytes": 1_000_000,
        "parameters": 650,
        "device": "cpu",
        "diverged": None,
    }


def make_run(
    top: Path,
    variant: str,
    seed: int,
    values: Sequence[Cell],
    *,
    metric: str = "val_accuracy",
    experiment: str = "digits",
    status: str = "done",
    every: int = 10,
    seconds_per_step: float = 0.01,
    columns: Mapping[str, Sequence[Cell]] | None = None,
    trial: int | None = None,
    **summary: Any,
) -> RunRecord:
    """A run evaluated every `every` steps of 32 samples, whose `metric` took `values`."""
    folder = top / experiment / variant / ("" if trial is None else f"trial-{trial}") / f"seed-{seed}"
    folder.mkdir(parents=True)
    steps = [every * (place + 1) for place in range(len(values))]
    table: dict[str, Sequence[Cell]] = {
        "step": steps,
        "epoch": [float(place + 1) for place in range(len(values))],
        "samples": [32 * step for step in steps],
        "train_seconds": [seconds_per_step * step for step in steps],
        "gradient_evaluations": steps,
        "train_loss": [2.0 / (place + 1) for place in range(len(values))],
        metric: values,
    }
    write_csv(folder / "metrics.csv", {**table, **(columns or {})})
    written = {
        **summary_of(variant, experiment, metric, seconds_per_step * (steps[-1] if steps else 0)),
        "schema": 1,
        "experiment": experiment,
        "variant": variant,
        "seed": seed,
        "status": status,
        "trial": trial,
    }
    (folder / "summary.json").write_text(json.dumps({**written, **summary}))
    return RunRecord.read(folder)


def in_memory(
    variant: str,
    seed: int,
    values: Sequence[float],
    *,
    metric: str = "val_accuracy",
    experiment: str = "digits",
    status: str = "done",
    every: int = 10,
    **summary: Any,
) -> RunRecord:
    """As `make_run`, without a disk: for simulations of many runs."""
    steps = [float(every * (place + 1)) for place in range(len(values))]
    written = {
        **summary_of(variant, experiment, metric, 0.01 * (steps[-1] if steps else 0)),
        "steps": len(steps) * every,
    }
    folder = Path(experiment) / variant / f"seed-{seed}"
    record = RunRecord(folder, experiment, variant, None, seed, status, {**written, **summary})
    curve = {
        "step": steps,
        "samples": [32 * step for step in steps],
        "train_seconds": [0.01 * step for step in steps],
        metric: list(values),
    }
    record.__dict__["_curve"] = curve  # where the property keeps what it has read
    return record
