"""Searches made up without a disk: search.json, trials, and the runs that confirm a winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compare_runs import in_memory

from nnopt.compare.search.trial import Trial
from nnopt.spec.search.domains import Domain, LogRange
from nnopt.spec.search.search import SearchSpec
from nnopt.store.record import RunRecord
from nnopt.store.search_file import Round, SearchedVariant, SearchFile, Winner

LR = "optimizer.lr"
RATES = LogRange(log=(1e-4, 1.0))
RANDOM = {"sampler": {"kind": "random", "seed": 0}}


def space(**domains: Any) -> dict[str, Domain]:
    """`space(optimizer__lr={"log": [1e-4, 1]})`: a space as a spec has it."""
    named = {key.replace("__", "."): domain for key, domain in domains.items()}
    return dict(SearchSpec.model_validate({"space": named}).space)


def searched(
    trials: int, searched_space: Mapping[str, Domain] | None = None, winner: int | None = None, order: int = 0
) -> SearchedVariant:
    """A variant of one round; the runs that confirm trial number `winner` have the hash `winner`."""
    over = dict(searched_space or {LR: RATES})
    confirmed = None if winner is None else Winner(winner, "winner")
    return SearchedVariant(order, (Round(0, trials, over),), {"optimizer": {"kind": "adam"}}, confirmed)


def search_file(
    metric: str = "val_accuracy",
    higher_is_better: bool = True,
    trial_seeds: Sequence[int] = (0,),
    search: Mapping[str, Any] = RANDOM,
    **variants: SearchedVariant,
) -> SearchFile:
    """search.json of the experiment `digits`."""
    return SearchFile(
        "digits", metric, higher_is_better, tuple(trial_seeds), (10, 11, 12), dict(search), dict(variants)
    )


def trial_run(
    variant: str,
    trial: int | None,
    setting: Mapping[str, Any],
    value: float,
    *,
    seed: int = 0,
    status: str = "done",
    metric: str = "val_accuracy",
    **summary: Any,
) -> RunRecord:
    """One run: its metric rises from half its last value to that; without a number of a trial, one that confirms."""
    made = in_memory(variant, seed, [value / 2, value], metric=metric, status=status, **summary)
    told = {**made.summary, "trial": trial, "setting": dict(setting)}
    folder = Path("digits") / variant / (f"trial-{trial}/seed-{seed}" if trial is not None else f"seed-{seed}")
    record = RunRecord(folder, "digits", variant, trial, seed, status, told)
    record.__dict__["_curve"] = made.__dict__["_curve"]
    return record


def confirming(variant: str, values: Sequence[float], spec_hash: str = "winner", **more: Any) -> list[RunRecord]:
    """Runs on fresh seeds, whose test accuracy is 0.01 less."""
    return [
        trial_run(
            variant,
            None,
            {},
            value,
            seed=10 + place,
            spec_hash=spec_hash,
            **{"test": {"last": {"accuracy": value - 0.01}, "best": {"accuracy": value - 0.005}}, **more},
        )
        for place, value in enumerate(values)
    ]


def lr_trials(pairs: Sequence[tuple[float, float | None]]) -> list[Trial]:
    """Trials of rates and values, None for one that diverged."""
    return [
        Trial(number, {LR: rate}, "diverged" if value is None else "done", value)
        for number, (rate, value) in enumerate(pairs)
    ]
