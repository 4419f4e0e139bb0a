"""An experiment with a search, written by hand as `sweep` writes it: trials, winners on fresh seeds, search.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compare_runs import make_run

from nnopt.spec.search.search import SearchSpec
from nnopt.store.record import RunRecord
from nnopt.store.search_file import Round, SearchedVariant, SearchFile, Winner

SPACE: Mapping[str, Any] = {
    "optimizer.lr": {"log": [1e-4, 1.0]},
    "optimizer.momentum": {"range": [0.0, 0.99]},
    "model.activation": {"choice": ["relu", "tanh"]},
}
WILD = 0.3  # learning rate from which runs diverge


def settings(trials: int) -> list[dict[str, Any]]:
    """Settings spread over SPACE: each key at the multiples of an irrational number."""
    space = SearchSpec.model_validate({"space": dict(SPACE)}).space
    places = [[(0.5 + trial * step) % 1 for step in (0.618034, 0.754878, 0.569840)] for trial in range(trials)]
    return [{key: domain.at(place[n]) for n, (key, domain) in enumerate(space.items())} for place in places]


def quality(setting: Mapping[str, Any], best: float) -> float:
    """An accuracy that is highest at the rate `best`, and a little higher with much momentum and tanh."""
    distance = math.log10(setting["optimizer.lr"] / best)
    lift = 0.01 * setting["optimizer.momentum"] + 0.002 * (setting["model.activation"] == "tanh")
    return 0.97 - 0.02 * distance**2 + float(lift)


def make_search(
    top: Path,
    experiment: str = "digits",
    rates: Mapping[str, float] | None = None,
    trials: int = 12,
    confirmed: Sequence[int] = (1, 2, 3),
    trial_seeds: Sequence[int] = (0,),
) -> list[RunRecord]:
    """Variants with the best rate of each: `trials` trials, and the winner over the seeds `confirmed`."""
    records, variants = [], {}
    for order, (variant, best) in enumerate((rates or {"sgd": 0.1, "adam": 0.001}).items()):
        found = {}
        for trial, setting in enumerate(settings(trials)):
            is_lost = setting["optimizer.lr"] > WILD
            value = quality(setting, best)
            for seed in trial_seeds:
                values = [0.3, 0.2] if is_lost else [value - 0.1, value - 0.03, value + seed / 1000]
                records.append(
                    make_run(
                        top,
                        variant,
                        seed,
                        values,
                        experiment=experiment,
                        trial=trial,
                        status="diverged" if is_lost else "done",
                        diverged={"step": 25} if is_lost else None,
                        setting=setting,
                        order=order,
                        spec=_spec(variant, setting),
                        spec_hash=f"{variant}-{trial}",
                    )
                )
            if not is_lost:
                found[trial] = value
        winner = max(found, key=lambda trial: (found[trial], -trial))
        tuned = {"trials": trials, "ranges": {"optimizer.lr": [1e-4, 1.0], "optimizer.momentum": [0.0, 0.99]}}
        for seed in confirmed:
            value = found[winner] - 0.004 + seed / 1000
            records.append(
                make_run(
                    top,
                    variant,
                    seed,
                    [value - 0.1, value - 0.02, value],
                    experiment=experiment,
                    order=order,
                    spec={**_spec(variant, settings(trials)[winner]), "tuned": tuned},
                    spec_hash=f"{variant}-winner",
                    test={"last": {"accuracy": value - 0.01}, "best": {"accuracy": value - 0.01}},
                )
            )
        variants[variant] = SearchedVariant(
            order,
            (Round(0, trials, SearchSpec.model_validate({"space": dict(SPACE)}).space),),
            {"optimizer": {"kind": variant}},
            Winner(winner, f"{variant}-winner") if confirmed else None,
        )
    SearchFile(
        experiment=experiment,
        metric="val_accuracy",
        higher_is_better=True,
        trial_seeds=tuple(trial_seeds),
        confirm_seeds=tuple(confirmed),
        search={"sampler": {"kind": "quasi_random", "sequence": "sobol", "scramble": True, "seed": 0}, "prune": None},
        variants=variants,
    ).write(top / experiment)
    return records


def _spec(variant: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    keys = {"kind": variant, "lr": setting["optimizer.lr"], "momentum": setting["optimizer.momentum"]}
    return {
        "data": {"kind": "digits"},
        "model": {"kind": "mlp", "activation": setting["model.activation"]},
        "optimizer": keys,
        "budget": {"steps": 30},
    }


def rewrite(record: RunRecord, **changes: Any) -> None:
    """Changes a run's summary where it lies."""
    path = record.folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
