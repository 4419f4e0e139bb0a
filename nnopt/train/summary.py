"""summary.json: what a run was and how it ended, all that `compare` needs besides the curves."""

from __future__ import annotations

import datetime
import math
from typing import Any

from nnopt.data.dataset import Dataset
from nnopt.plan import RunSpec
from nnopt.spec.averages import Swa
from nnopt.structure.network import count_parameters
from nnopt.train.accounts import Accounts
from nnopt.train.environment import machine
from nnopt.train.freezing import count_frozen
from nnopt.train.grouping import named_groups
from nnopt.train.setup import Setup
from nnopt.train.state import Row, TrainState
from nnopt.train.traffic import traffic_of_run


def summarise(
    run: RunSpec,
    setup: Setup | None,
    state: TrainState | None,
    status: str,
    reason: str,
    started: str,
    tests: dict[str, Any] | None,
    diverged: dict[str, Any] | None,
    accounts: Accounts | None = None,
) -> dict[str, Any]:
    """The content of summary.json; what a run that failed early never had is left out."""
    summary: dict[str, Any] = {
        "experiment": run.experiment,
        "variant": run.variant,
        "seed": run.seed,
        **({} if run.trial is None else {"trial": run.trial, "setting": dict(run.setting)}),
        "order": run.order,
        "tags": list(run.tags),
        "notes": run.notes,
        "status": status,
        "reason": reason,
        "spec": run.settings_as_keys(),
        "spec_hash": run.hash,
        "hash_without_budget": run.hash_without_budget,
        "task": run.settings.data.asks,
        "select": run.settings.select,
        "started": started,
        "ended": None if status == "running" else datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "diverged": diverged,
        "test": _finite(tests),
    }
    if setup is not None and state is not None:
        summary |= _reached(run, setup, state)
        summary |= accounts.summary() if accounts is not None else {}
    return summary


def _reached(run: RunSpec, setup: Setup, state: TrainState) -> dict[str, Any]:
    progress = state.progress
    seconds = state.clock.seconds["train"]
    promised, why_not = bits_promised(run, setup)
    energy = state.clock.meter
    return {
        "metrics": _finite(_metrics(progress.last_row, progress.bests)),
        "target": _target(run, progress.target),
        "seconds": {account: round(value, 6) for account, value in state.clock.seconds.items()},
        "steps": progress.step,
        "samples": progress.samples,
        "epochs": progress.samples / len(setup.data.train),
        **({"final_step": progress.final_step} if run.settings.structure.changes_network else {}),
        "gradient_evaluations": progress.gradient_evaluations,
        "memory_peak_bytes": progress.memory_peak_bytes,
        "diagnosis": list(progress.diagnosis.values()),
        "samples_per_second": progress.samples / seconds if seconds > 0 else None,
        **traffic_of_run(progress, seconds),
        "parameters": count_parameters(state.delivered or state.model),
        **({"teachers": setup.teachers} if setup.teachers else {}),
        "energy_joules": energy.joules,
        "energy_source": energy.source,
        "energy_reason": energy.reason or None,
        "threads": setup.threads,
        "device": str(setup.device),
        "machine": machine(setup.device),
        "data": {
            "name": setup.data.name,
            "sha256": setup.data.content_hash,
            "classes": class_names(setup.data),
            "rows": {name: len(getattr(setup.data, name)) for name in ("train", "validation", "test")},
        },
        **_transfer(setup, state),
        "bits_promised": promised,
        "bits_reason": why_not,
    }


def class_names(data: Dataset) -> list[str]:
    """What summary.json calls the classes or labels; a vocabulary is in data.json alone."""
    return [] if data.task == "language" else list(data.classes)


def _transfer(setup: Setup, state: TrainState) -> dict[str, Any]:
    """What the network began with, how many of its parameters are frozen now, and groups of the others."""
    model, settings = state.model, setup.settings
    return {
        **({} if state.origin is None else {"init_from": state.origin}),
        **({"frozen_parameters": count_frozen(model)} if settings.model.freeze else {}),
        **(
            {"groups": [named.record() for named in named_groups(settings.optimizer, model)]}
            if settings.optimizer.parameter_groups
            else {}
        ),
    }


def bits_promised(run: RunSpec, setup: Setup) -> tuple[bool, str | None]:
    """Whether the same spec gives the same bits again on this machine, and if not, why."""
    settings = run.settings
    disorder = None if settings.parallel is None else settings.parallel.disorder
    if disorder is not None:
        return False, disorder
    if setup.device.type != "cpu":
        return False, f"kernels of {setup.device.type} add in no fixed order"
    average = settings.strategy.average
    timed = {
        "budget": settings.budget.seconds,
        "evaluation.every": settings.evaluation.every.seconds,
        "strategy.average.every": average.every.seconds if isinstance(average, Swa) else None,
    }
    for key, seconds in timed.items():
        if seconds is not None:
            return False, f"{key} is in seconds"
    return True, None


def _metrics(last: Row | None, bests: dict[str, dict[str, float | int]]) -> dict[str, Any]:
    return {
        column: {"last": (last or {}).get(column), "best": best["value"], "best_step": best["step"]}
        for column, best in bests.items()
    }


def _target(run: RunSpec, reached: Row | None) -> dict[str, Any] | None:
    target = run.settings.evaluation.target
    if target is None:
        return None
    found = {"metric": target.metric, "value": target.value, "reached": reached is not None}
    if reached is None:
        return found
    return found | {
        "step": reached["step"],
        "epoch": reached["epoch"],
        "samples": reached["samples"],
        "gradient_evaluations": reached["gradient_evaluations"],
        "seconds": reached["train_seconds"],
    }


def _finite(value: Any) -> Any:
    """The same nested value with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
