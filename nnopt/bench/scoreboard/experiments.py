"""A workload and optimizers put together: the experiments that are searched and trained."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnopt.bench.scoreboard.board import Board, Entry, Workload
from nnopt.errors import SpecError, UsageError
from nnopt.plan import Plan
from nnopt.spec.experiment import ExperimentSpec
from nnopt.spec.identity import to_yaml
from nnopt.spec.loading import load
from nnopt.spec.merge import merge
from nnopt.train.setup import DataCache, build

# One thread a run, so that runs side by side disturb each other's times least; little is written beside training.
USUAL: dict[str, Any] = {
    "strategy": {"threads": 1},
    "logging": {"every": 100, "layers": False, "latency": False},
    "checkpoint": {"every": {"seconds": 30}, "best": False},
}
# Seeds of the runs that targets are taken from: none that a run of the board has.
TARGET_SEEDS_FROM = 1000
_BEGINNING = re.compile(r"^\S+\.yaml(:\d+)?: (variants\.[^.:]+[.:]? ?)?")

Keys = dict[str, Any]
Loaded = tuple[ExperimentSpec | None, dict[str, str]]


@dataclass(frozen=True)
class Experiments:
    """What is to be done on one workload.

    `tuned` is searched, `untuned` trained as it stands; None where there is no such optimizer. `refused` is
    optimizer -> why it does not go with this workload, or cannot be built here.
    """

    workload: Workload
    tuned: ExperimentSpec | None
    untuned: ExperimentSpec | None
    refused: Mapping[str, str] = field(default_factory=dict)


def experiment_name(board: Board, workload: Workload, targets: bool = False) -> str:
    """The folder of all runs on a workload, `scoreboard-digits`; for its target `scoreboard-targets-digits`."""
    return f"{board.spec.name}-{'targets-' if targets else ''}{workload.name}"


def experiments_of(board: Board, workload: Workload, target: float) -> Experiments:
    """The chosen optimizers on a workload, each run ending at the target.

    Raises:
        SpecError: no optimizer goes with the workload: its own keys are wrong.
    """
    common = _common(board, workload)
    aim = {"metric": workload.metric, "value": target, "stop": True}
    common = merge(common, {"evaluation": {"target": aim}})
    name, spec = experiment_name(board, workload), board.spec
    search = {
        "sampler": {"kind": "quasi_random"},
        "trials": spec.trials,
        "objective": {"metric": "penalised_seconds"},
        "confirm": {"seeds": spec.seeds},
    }

    def searched(entries: Sequence[Entry]) -> Keys:
        return {"name": name, **common, "search": search, "variants": {one.name: dict(one.keys) for one in entries}}

    def as_they_stand(entries: Sequence[Entry]) -> Keys:
        seeds = list(range(1, 1 + spec.seeds))  # those of the winners: the trials have seed 0
        return {"name": name, **common, "seeds": seeds, "variants": {one.name: dict(one.keys) for one in entries}}

    entries = board.entries(workload)
    tuned, refused = _load(searched, [one for one in entries if one.is_tuned])
    untuned, more = _load(as_they_stand, [one for one in entries if not one.is_tuned])
    if tuned is None and untuned is None:
        raise SpecError(f"{workload.file}: no optimizer goes with it: {next(iter((refused | more).values()))}")
    return Experiments(workload, tuned, untuned, refused | more)


def target_experiment(board: Board, workload: Workload) -> ExperimentSpec:
    """The baselines on a workload, to fix its target: judged by the last value of its metric.

    Raises:
        SpecError: a baseline does not go with the workload.
    """
    spec = board.spec.targets
    common = merge(_common(board, workload), {"budget": {"seconds": workload.cap * spec.share}})
    search = {
        "sampler": {"kind": "quasi_random"},
        "trials": spec.trials,
        "objective": {"metric": workload.metric},
        "confirm": {"seeds": [TARGET_SEEDS_FROM + number for number in range(spec.seeds)]},
    }
    variants = {name: dict(board.optimizer(name).keys) for name in spec.baselines}
    keys = {"name": experiment_name(board, workload, targets=True), **common, "search": search, "variants": variants}
    try:
        return _load_keys(keys)
    except SpecError as error:
        raise SpecError(f"{workload.file} with a baseline: {_plainly(error)}") from None


def without_unbuildable(experiments: Experiments, runs_dir: Path, cache: DataCache) -> Experiments:
    """The same without the optimizers that refuse this model and data, or need a package that is not installed."""
    refused = dict(experiments.refused)
    kept: dict[str, ExperimentSpec | None] = {"tuned": experiments.tuned, "untuned": experiments.untuned}
    for key, experiment in kept.items():
        if experiment is None:
            continue
        seen: dict[str, str] = {}
        for run in Plan.of(experiment).runs:
            if run.seed != experiment.seeds[0]:
                continue
            try:
                build(run, cache)
            except UsageError as error:
                seen[run.variant] = str(error)
        left = {name: settings for name, settings in experiment.variants.items() if name not in seen}
        kept[key] = experiment.model_copy(update={"variants": left}) if left else None
        refused |= seen
    return Experiments(experiments.workload, kept["tuned"], kept["untuned"], refused)


def missing_data(experiment: ExperimentSpec) -> str | None:
    """Why the data of an experiment is not at hand; None where it is."""
    return next((reason for one in experiment.variants.values() if (reason := one.data.available())), None)


def _common(board: Board, workload: Workload) -> Keys:
    return merge(USUAL, dict(workload.keys))


def _load(compose: Callable[[Sequence[Entry]], Keys], entries: list[Entry]) -> Loaded:
    """The experiment of all that can be loaded, and why the others cannot."""
    if not entries:
        return None, {}
    try:
        return _load_keys(compose(entries)), {}
    except SpecError:
        refused: dict[str, str] = {}
    for entry in entries:
        try:
            _load_keys(compose([entry]))
        except SpecError as error:
            refused[entry.name] = f"{entry.file}: {_plainly(error)}"
    kept = [entry for entry in entries if entry.name not in refused]
    return (_load_keys(compose(kept)) if kept else None), refused


def _load_keys(keys: Keys) -> ExperimentSpec:
    with tempfile.TemporaryDirectory(prefix="nnopt-") as folder:
        file = Path(folder) / "experiment.yaml"
        file.write_text(to_yaml(keys))
        return load(file)


def _plainly(error: SpecError) -> str:
    """The first mistake without the place in a file that nobody wrote."""
    return _BEGINNING.sub("", error.problems[0])
