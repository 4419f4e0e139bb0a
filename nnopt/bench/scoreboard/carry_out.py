"""What is left of a scoreboard, carried out workload by workload: searches, winners, optimizers without a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnopt.bench.scoreboard.board import Board, Workload
from nnopt.bench.scoreboard.experiments import (
    Experiments,
    experiments_of,
    missing_data,
    target_experiment,
    without_unbuildable,
)
from nnopt.bench.scoreboard.targets import (
    Confirmed,
    FixedTarget,
    fix_target,
    is_of,
    read_targets,
    write_targets,
)
from nnopt.errors import SpecError, UsageError
from nnopt.plan import Plan
from nnopt.scale.processes import train_runs
from nnopt.search.sweep import SweepOptions, sweep
from nnopt.spec.experiment import ExperimentSpec
from nnopt.store.find import read_runs, run_folders
from nnopt.store.record import FINISHED, RunRecord
from nnopt.store.search_file import SearchFile
from nnopt.train.experiment import Options
from nnopt.train.listener import Listener
from nnopt.train.setup import DataCache


@dataclass(frozen=True)
class BenchOptions:
    """Where runs lie and how many are trained at a time; `fresh` sets what was done aside and begins again."""

    runs_dir: Path
    jobs: int = 1
    fresh: bool = False


@dataclass(frozen=True)
class Planned:
    """What can be carried out, and by workload why it cannot: its data are not here."""

    experiments: tuple[Experiments, ...]
    without_data: dict[str, str] = field(default_factory=dict)


def plan_board(board: Board, targets: dict[str, FixedTarget], options: BenchOptions) -> Planned:
    """Puts workloads and optimizers together, and builds each pair once to see whether they go together.

    Raises:
        SpecError: a workload that goes with no optimizer, or an optimizer that goes with no workload.
        UsageError: the data of no workload are here.
    """
    loaded, without = [], {}
    for workload in board.chosen_workloads:
        one = experiments_of(board, workload, targets[workload.name].value)
        reason = missing_data(one.tuned or one.untuned)  # type: ignore[arg-type]
        if reason is None:
            loaded.append(one)
        else:
            without[workload.name] = reason
    if not loaded:
        raise UsageError(f"no workload can be trained here: {next(iter(without.values()), 'none is chosen')}")
    for entry in board.optimizers:
        reasons = [one.refused.get(entry.name) for one in loaded if entry in board.entries(one.workload)]
        if reasons and all(reasons):
            raise SpecError(f"{reasons[0]} (so with every workload: mend the file, or take it out)")
    cache = DataCache(options.runs_dir)
    return Planned(tuple(without_unbuildable(one, options.runs_dir, cache) for one in loaded), without)


def carry_out_board(
    planned: Planned, options: BenchOptions, listener: Listener, more: Callable[[int], None] = lambda _: None
) -> None:
    """Searches and trains what is left; the same call again goes on where it was stopped.

    Raises:
        UsageError: a workload, an optimizer or the trials changed since the search began.
        Interrupted: a signal came; everything done is kept.
    """
    for one in planned.experiments:
        for name, reason in one.refused.items():
            listener.note(f"{one.workload.name}/{name}", f"left out: {reason}")
        if one.tuned is not None:
            _search(one.tuned, options, listener, more)
        if one.untuned is not None:
            plan = Plan.of(one.untuned)
            more(len(plan.runs))
            how = Options(options.runs_dir, fresh=options.fresh and one.tuned is None, most_threads=1)
            train_runs(plan, how, listener, options.jobs)


def open_targets(board: Board, fresh: bool) -> list[Workload]:
    """The chosen workloads whose target is still to be fixed."""
    fixed = {} if fresh else read_targets(board)
    return [one for one in board.chosen_workloads if one.name not in fixed or not is_of(fixed[one.name], one)]


def fix_targets(
    board: Board,
    options: BenchOptions,
    listener: Listener,
    more: Callable[[int], None] = lambda _: None,
) -> dict[str, FixedTarget]:
    """Fixes the targets that are open, one workload after the other, and writes each down as it is known.

    Raises:
        UsageError: a workload's data are not here, a baseline's runs come to nothing, or the workload changed since
            its baselines were searched.
        Interrupted: a signal came; everything done is kept.
    """
    targets = read_targets(board)
    for workload in open_targets(board, options.fresh):
        experiment = target_experiment(board, workload)
        reason = missing_data(experiment)
        if reason is not None:
            listener.note(workload.name, f"left out: {reason}")
            continue
        _search(experiment, options, listener, more)
        confirmed = [_confirmed(experiment, name, options.runs_dir) for name in experiment.variants]
        targets[workload.name] = fix_target(board, workload, [one for one in confirmed if one is not None])
        write_targets(board, targets)
    return targets


def winner_records(experiment_folder: Path, file: SearchFile | None, name: str) -> tuple[RunRecord, ...]:
    """The finished and failed runs that confirm a variant's winner, by seed; () where there is none yet."""
    winner = file.variants[name].winner if file is not None and name in file.variants else None
    if winner is None:
        return ()
    return plain_records(experiment_folder, name, winner.spec_hash)


def plain_records(experiment_folder: Path, name: str, spec_hash: str) -> tuple[RunRecord, ...]:
    """The runs of a variant with these settings that came to their end, by seed."""
    records, _ = read_runs(run_folders(experiment_folder / name)) if (experiment_folder / name).is_dir() else ([], [])
    own = [one for one in records if one.trial is None and one.spec_hash == spec_hash]
    return tuple(sorted((one for one in own if one.status in (*FINISHED, "failed")), key=lambda one: one.seed))


def _search(experiment: ExperimentSpec, options: BenchOptions, listener: Listener, more: Callable[[int], None]) -> None:
    how = SweepOptions(options.runs_dir, options.jobs, options.fresh)
    try:
        sweep(experiment, how, listener, more)
    except UsageError as error:
        if "changed since the search" not in str(error):
            raise
        raise UsageError(f"{error}; for an optimizer that changed it is enough to give its file another name") from None


def _confirmed(experiment: ExperimentSpec, name: str, runs_dir: Path) -> Confirmed | None:
    folder = runs_dir / experiment.name
    records = winner_records(folder, SearchFile.read(folder), name)
    return Confirmed(name, setting_of(experiment, records), records) if records else None


def setting_of(experiment: ExperimentSpec, records: Sequence[RunRecord]) -> dict[str, object]:
    """The searched keys with the values that the runs have."""
    if not records or experiment.search is None:
        return {}
    settings = experiment.variants[records[0].variant]
    space = settings.search.space if settings.search is not None else {}
    found: dict[str, object] = {}
    for key in space:
        value: object = records[0].summary["spec"]
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        found[key] = value
    return found


__all__ = [
    *("BenchOptions", "Planned", "carry_out_board", "experiment_name", "fix_targets", "open_targets"),
    *("plain_records", "plan_board", "setting_of", "winner_records"),
]
