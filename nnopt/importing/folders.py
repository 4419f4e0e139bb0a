"""Imported runs as run folders: metrics.csv, steps.csv and summary.json, as `train` writes them as far as known."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnopt.importing.columns import STEP, TIME
from nnopt.importing.source import DONE, Plain, SourceRun
from nnopt.spec.metric_names import higher_is_better
from nnopt.store.files import make_folder, write_json, write_whole
from nnopt.store.lock import RunLock
from nnopt.store.record import METRICS, STEPS, SUMMARY, SUMMARY_SCHEMA

STEPS_PREFIX, FINAL_PREFIX = "steps/", "final/"  # of our own trackers
COUNTS = (STEP, "samples", "gradient_evaluations", "memory_peak_bytes")
PREFERRED = ("val_accuracy", "val_loss")  # what ranks the runs, where nothing else is asked for
FIRST = (STEP, "epoch", "samples", TIME, "lr", "train_loss")

Rows = dict[str, dict[int, float]]


@dataclass(frozen=True)
class Content:
    """What a run's folder is to hold."""

    metrics: str
    steps: str | None
    summary: dict[str, Any]
    rows: int


def make_content(
    run: SourceRun,
    columns: Mapping[str, str],
    metric: str | None,
    identity: Mapping[str, Any],
    settings: Mapping[str, Plain],
    origin: Mapping[str, Any],
) -> Content:
    """The files of a run whose curves become `columns` (theirs -> ours).

    `train_seconds` is the source's own column of seconds; else the wall time since the run's first event, in which
    evaluations and pauses count; else 0 (`imported.clock` in summary.json says which: given, wall, none). A row
    without a time has the last one before it. `samples` is left out where the source does not have it.
    A loss whose last value is not finite makes a run that is done a diverged one.
    """
    curves = {ours: run.curves[theirs] for theirs, ours in columns.items() if theirs in run.curves and ours != STEP}
    steps = sorted({step for name, curve in curves.items() if name != TIME for step in curve})
    clock = "given" if TIME in curves else "wall" if run.seconds else "none"
    curves[TIME] = _seconds(steps, curves.get(TIME) or run.seconds)
    names = [name for name in FIRST if name in curves] + [name for name in curves if name not in FIRST]
    select = metric or _usual(names)
    status, reason, diverged = _ending(run, curves, select)
    summary = {
        "schema": SUMMARY_SCHEMA,
        **identity,
        "trial": None,
        "tags": list(run.tags),
        "notes": run.text,
        "status": status,
        "reason": reason,
        "spec": _nested(settings),
        "task": "classification" if any(name.endswith("accuracy") for name in names) else "regression",
        "select": select,
        "started": None,
        "ended": None,
        "diverged": diverged,
        "test": _test(run),
        "metrics": {name: _extremes(name, curves[name]) for name in names if _is_metric(name, select)},
        "target": _target(run, settings),
        "seconds": {"train": None if clock == "none" else curves[TIME][steps[-1]] if steps else 0.0},
        "steps": steps[-1] if steps else 0,
        "samples": _last_count(curves, "samples"),
        "epochs": _last(curves, "epoch"),
        "gradient_evaluations": _last_count(curves, "gradient_evaluations"),
        "imported": {**origin, "clock": clock},
    }
    logged = {name.removeprefix(STEPS_PREFIX): curve for name, curve in run.curves.items() if _is_logged(name)}
    return Content(
        metrics=_csv(steps, {name: curves[name] for name in names}),
        steps=_csv(sorted({step for curve in logged.values() for step in curve}), logged) if logged else None,
        summary=summary,
        rows=len(steps),
    )


def to_map(run: SourceRun) -> list[str]:
    """The names of curves that become columns of metrics.csv; the rest is steps.csv and final results."""
    return [name for name in run.curves if not _is_logged(name) and not name.startswith(FINAL_PREFIX)]


def write(folder: Path, content: Content) -> str:
    """Writes the folder: "new", "updated", or "unchanged" where it holds just this already."""
    before = _read(folder / SUMMARY)
    same = before is not None and json.loads(before) == content.summary
    if same and _read(folder / METRICS) == content.metrics and _read(folder / STEPS) == content.steps:
        return "unchanged"
    make_folder(folder)
    with RunLock(folder):
        write_whole(folder / METRICS, content.metrics)
        if content.steps is not None:
            write_whole(folder / STEPS, content.steps)
        write_json(folder / SUMMARY, content.summary)
    return "new" if before is None else "updated"


def group_hash(*what: str) -> str:
    """Sixteen hexadecimal digits that all seeds of a variant share."""
    return hashlib.sha256(json.dumps(["imported", *what]).encode()).hexdigest()[:16]


def _is_logged(name: str) -> bool:
    return name.startswith(STEPS_PREFIX) and "/" not in name.removeprefix(STEPS_PREFIX)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _seconds(steps: Sequence[int], known: Mapping[int, float]) -> dict[int, float]:
    """Seconds at each step: never falling, and where they are not known the last ones before."""
    seconds: dict[int, float] = {}
    moments = sorted((step, value) for step, value in known.items() if math.isfinite(value))
    last, at = 0.0, 0
    for step in steps:
        while at < len(moments) and moments[at][0] <= step:
            last = max(last, moments[at][1])
            at += 1
        seconds[step] = last
    return seconds


def _usual(names: Sequence[str]) -> str | None:
    metrics = [name for name in names if name not in COUNTS and name not in (TIME, "epoch", "lr")]
    validation = [name for name in metrics if name.startswith("val_")]
    return next(iter([*(name for name in PREFERRED if name in names), *validation, *metrics]), None)


def _ending(run: SourceRun, curves: Rows, select: str | None) -> tuple[str, str, dict[str, Any] | None]:
    for name, curve in curves.items():
        if curve and (name == select or name.endswith("loss")):
            last = max(curve)
            if not math.isfinite(curve[last]) and run.status in (DONE, "failed", "diverged"):
                finite = [step for step in sorted(curve) if math.isfinite(curve[step])]
                reason = run.reason if run.status == "diverged" else f"{name} is {curve[last]} at step {last}"
                return "diverged", reason, {"step": last, "last_loss": curve[finite[-1]] if finite else None}
    steps = [step for curve in curves.values() for step in curve]
    diverged = {"step": max(steps, default=0), "last_loss": None} if run.status == "diverged" else None
    return run.status, run.reason, diverged


def _is_metric(name: str, select: str | None) -> bool:
    return name.startswith("val_") or name in ("train_loss", select)


def _extremes(name: str, curve: Mapping[int, float]) -> dict[str, Any]:
    finite = {step: value for step, value in sorted(curve.items()) if math.isfinite(value)}
    if not finite:
        return {"last": None, "best": None, "best_step": None}
    best = (max if higher_is_better(name) else min)(finite, key=lambda step: finite[step])
    last = curve[max(curve)]
    return {"last": last if math.isfinite(last) else None, "best": finite[best], "best_step": best}


def _last(curves: Rows, name: str) -> float | None:
    curve = curves.get(name)
    return curve[max(curve)] if curve else None


def _last_count(curves: Rows, name: str) -> int | None:
    value = _last(curves, name)
    return int(value) if value is not None and math.isfinite(value) else None


def _test(run: SourceRun) -> dict[str, Any] | None:
    """The test metrics that our trackers wrote at the end."""
    found: dict[str, Any] = {}
    for name, curve in run.curves.items():
        words = name.split("/")
        if name.startswith(FINAL_PREFIX) and len(words) == 4 and words[1] == "test":
            value = curve[max(curve)]
            found.setdefault(words[2], {})[words[3]] = None if not math.isfinite(value) else _whole(words[3], value)
    return {"last": None, "best": None, **found} if found else None


def _target(run: SourceRun, settings: Mapping[str, Plain]) -> dict[str, Any] | None:
    """Time to target as our trackers wrote it at the end."""
    metric, value = settings.get("evaluation.target.metric"), settings.get("evaluation.target.value")
    prefix = f"{FINAL_PREFIX}target/"
    ends = {name.removeprefix(prefix): curve[max(curve)] for name, curve in run.curves.items() if prefix in name}
    if "reached" not in ends or not isinstance(metric, str) or not isinstance(value, int | float):
        return None
    found = {"metric": metric, "value": float(value), "reached": bool(ends["reached"])}
    keys = ("step", "epoch", "samples", "gradient_evaluations", "seconds")
    return found | {key: ends[key] if key in ("epoch", "seconds") else int(ends[key]) for key in keys if key in ends}


def _nested(settings: Mapping[str, Plain]) -> dict[str, Any]:
    """Dotted keys as nested mappings; a key that is both a value and a mapping stays dotted."""
    nested: dict[str, Any] = {}
    for name, value in sorted(settings.items()):
        *above, last = name.split(".")
        inner: Any = nested
        for key in above:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else None
        plain = None if isinstance(value, float) and not math.isfinite(value) else _unpacked(value)
        if isinstance(inner, dict) and not isinstance(inner.get(last), dict):
            inner[last] = plain
        else:
            nested[name] = plain
    return nested


def _unpacked(value: Plain) -> Any:
    """A list that our trackers wrote as JSON is one again."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            return json.loads(value, parse_constant=str)
        except ValueError:
            return value
    return value


def _csv(steps: Sequence[int], curves: Mapping[str, Mapping[int, float]]) -> str:
    lines = [",".join([STEP, *curves])]
    columns = list(curves.items())
    for step in steps:
        lines.append(",".join([str(step), *(_cell(name, curve.get(step)) for name, curve in columns)]))
    return "\n".join(lines) + "\n"


def _cell(name: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(_whole(name, value)) if name in COUNTS else repr(value)


def _whole(name: str, value: float) -> float | int:
    """A count as a whole number."""
    return int(value) if name in COUNTS and value == int(value) else value
