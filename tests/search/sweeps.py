"""What tests of whole sweeps share: a small search, and what its store says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from command_line import SMALL

import nnopt
from nnopt.spec.merge import merge

# Two variants of six short trials each on the digits; some rates of either diverge or learn nothing.
SEARCH: dict[str, Any] = {
    **SMALL,
    "device": "cpu",
    "search": {
        "space": {"optimizer.lr": {"log": [1e-2, 3]}},
        "sampler": {"kind": "quasi_random"},
        "trials": 6,
        "confirm": {"seeds": 2},
    },
    "variants": {
        "sgd": {},
        "momentum": {"optimizer": {"kind": "momentum", "beta": 0.9}},
    },
}


def write_search(folder: Path, changes: dict[str, Any] | None = None, name: str = "search.yaml") -> Path:
    """A spec file with `changes` merged over SEARCH."""
    path = folder / name
    path.write_text(yaml.safe_dump(merge(SEARCH, changes or {}), sort_keys=False))
    return path


def swept_undrawn(path: Path) -> Path:
    """The folder of a spec file, whose search was carried out below it in `runs`, without its picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnopt.compare.pictures.search.plot_search", lambda *_: None)
        nnopt.sweep(path, runs_dir=path.parent / "runs")
    return path.parent


def studies(runs: Path, experiment: str = "small") -> dict[str, list[tuple[Any, ...]]]:
    """Variant -> number, state, parameters and value of each trial, through Optuna's own API."""
    url = f"sqlite:///{runs / experiment / 'study.db'}"
    storage = optuna.storages.RDBStorage(url)
    found = {}
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        found[name.partition("/")[2]] = [
            (trial.number, trial.state.name, trial.params, trial.values[0] if trial.values else None)
            for trial in study.trials
        ]
    storage.remove_session()
    storage.engine.dispose()
    return found


def trial_folders(runs: Path, experiment: str = "small") -> list[Path]:
    """The run folders of all trials."""
    return sorted(path.parent for path in (runs / experiment).glob("*/trial-*/seed-*/summary.json"))
