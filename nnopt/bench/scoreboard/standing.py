"""Where the optimizers stand: time to target of each on each workload, and what all workloads say together.

The score is the area under an optimizer's performance profile up to four times the fastest (Dolan and Moré 2002; so in
AlgoPerf, Dahl et al. 2023, arXiv:2306.07179), in training seconds and within its class. A run that diverged or failed
never got there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnopt.bench.scoreboard.board import Board, Entry
from nnopt.bench.scoreboard.carry_out import Planned, plain_records, setting_of, winner_records
from nnopt.bench.scoreboard.experiments import Experiments, experiment_name
from nnopt.bench.scoreboard.targets import FixedTarget
from nnopt.compare.groups import Group
from nnopt.compare.statistics.friedman import friedman, mean_rank_intervals, row_ranks
from nnopt.compare.statistics.profiles import performance_profiles
from nnopt.compare.target import AxisTime, Target, TimeToTarget, time_to_target
from nnopt.compare.tasks.across import AcrossTasks, Speedup, speedup
from nnopt.compare.text import listed
from nnopt.compare.time_ratio import TimeRatio, time_ratio
from nnopt.plan import Plan
from nnopt.spec.experiment import ExperimentSpec
from nnopt.store.find import read_runs, run_folders
from nnopt.store.record import FINISHED, RunRecord
from nnopt.store.search_file import SearchFile

AXIS = "seconds"


@dataclass(frozen=True)
class Result:
    """One optimizer on one workload.

    `time` is None where no run came to an end. `ratio` is its time by the reference's. `refused` says why it was not
    tried, `is_open` that runs are still to come: then it counts in no table.
    """

    workload: str
    optimizer: str
    is_tuned: bool
    setting: Mapping[str, Any]
    records: tuple[RunRecord, ...]
    time: TimeToTarget | None
    ratio: TimeRatio | None = None
    refused: str = ""
    is_open: bool = False

    @property
    def axis(self) -> AxisTime | None:
        """The times in training seconds."""
        return self.time.axes.get(AXIS) if self.time is not None else None

    @property
    def median(self) -> float | None:
        """Kaplan-Meier's median of the seconds to the target; None where fewer than half of the runs got there."""
        return self.axis.median if self.axis is not None else None


@dataclass(frozen=True)
class Standing:
    """All that a scoreboard has come to. `tuned` and `untuned` are None where no optimizer of the class is complete."""

    name: str
    reference: str
    targets: Mapping[str, FixedTarget]
    results: tuple[Result, ...]
    tuned: AcrossTasks | None
    untuned: AcrossTasks | None
    trials: int
    seeds: int
    machines: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]

    @property
    def has_open(self) -> bool:
        """Whether runs are still to come."""
        return any(one.is_open for one in self.results)

    @property
    def classes(self) -> tuple[tuple[str, AcrossTasks], ...]:
        """The classes that have results, with the names that their files and tables have."""
        both = (("tuned", self.tuned), ("self-tuning", self.untuned))
        return tuple((name, across) for name, across in both if across is not None)


def standing_of(board: Board, planned: Planned, targets: Mapping[str, FixedTarget], runs_dir: Path) -> Standing:
    """What the runs on the disk say of the chosen optimizers on the chosen workloads; trains nothing."""
    results: list[Result] = []
    for one in planned.experiments:
        results += _with_ratios(_results(board, one, targets[one.workload.name], runs_dir), board.spec.reference)
    tuned, untuned = (_class(board, planned, targets, results, is_tuned) for is_tuned in (True, False))
    machines: dict[str, Mapping[str, Any]] = {}
    for result in results:
        for record in result.records:
            machine = record.summary.get("machine")
            if machine:
                machines.setdefault(str(sorted(machine.items())), machine)
    return Standing(
        board.spec.name,
        board.spec.reference,
        {one.workload.name: targets[one.workload.name] for one in planned.experiments},
        tuple(results),
        tuned,
        untuned,
        board.spec.trials,
        board.spec.seeds,
        tuple(machines.values()),
        tuple(_notes(planned, results, len(machines))),
    )


def _results(board: Board, one: Experiments, target: FixedTarget, runs_dir: Path) -> list[Result]:
    folder = runs_dir / experiment_name(board, one.workload)
    file = SearchFile.read(folder) if folder.is_dir() else None
    hashes = {run.variant: run.hash for run in Plan.of(one.untuned).runs} if one.untuned else {}
    found = []
    for entry in board.entries(one.workload):
        empty = Result(one.workload.name, entry.name, entry.is_tuned, {}, (), None)
        if entry.name in one.refused:
            found.append(replace(empty, refused=one.refused[entry.name]))
            continue
        experiment = one.tuned if entry.is_tuned else one.untuned
        assert experiment is not None
        records = (
            winner_records(folder, file, entry.name)
            if entry.is_tuned
            else plain_records(folder, entry.name, hashes[entry.name])
        )
        is_open = len(records) < board.spec.seeds
        if entry.is_tuned and not records and _has_no_winner(folder, file, entry, board.spec.trials):
            is_open = False
        found.append(_result(replace(empty, is_open=is_open), experiment, records, target))
    return found


def _has_no_winner(folder: Path, file: SearchFile | None, entry: Entry, trials: int) -> bool:
    """Whether all trials are over and none came to a value: then no runs are to come."""
    if file is None or entry.name not in file.variants or file.variants[entry.name].winner is not None:
        return False
    records, _ = read_runs(run_folders(folder / entry.name)) if (folder / entry.name).is_dir() else ([], [])
    over = {one.trial for one in records if one.trial is not None and one.status in (*FINISHED, "failed")}
    return len(over) >= trials


def _result(empty: Result, experiment: ExperimentSpec, records: tuple[RunRecord, ...], target: FixedTarget) -> Result:
    # A failed run says no more of the optimizer than a diverged one: it never got there.
    counted = tuple(replace(one, status="diverged") if one.status == "failed" else one for one in records)
    label = f"{empty.workload}/{empty.optimizer}"
    spec_hash = records[0].spec_hash if records else ""
    group = Group(label, empty.workload, empty.optimizer, None, spec_hash, counted)
    time = time_to_target(group, Target(target.metric, target.value)) if counted else None
    return replace(empty, records=records, time=time, setting=setting_of(experiment, records))


def _with_ratios(results: Sequence[Result], reference: str) -> list[Result]:
    """The same with each time by the reference's on the same workload."""
    against = next((one for one in results if one.optimizer == reference), None)
    if against is None or against.time is None or against.axis is None:
        return list(results)
    found = []
    for one in results:
        if one is not against and one.time is not None and one.axis is not None:
            one = replace(one, ratio=time_ratio(one.time, against.time, AXIS))
        found.append(one)
    return found


def _class(
    board: Board,
    planned: Planned,
    targets: Mapping[str, FixedTarget],
    results: Sequence[Result],
    is_tuned: bool,
) -> AcrossTasks | None:
    """What the workloads say together of one class, each optimizer against the reference, which may be of the other."""
    tasks = tuple(one.workload.name for one in planned.experiments)
    of = {(one.workload, one.optimizer): one for one in results}

    def axes(name: str) -> list[AxisTime | None] | None:
        """By workload; None where the optimizer was not chosen everywhere, or runs are still to come."""
        rows = [of.get((task, name)) for task in tasks]
        return None if any(row is None or row.is_open for row in rows) else [row.axis for row in rows if row]

    somewhere = {one.optimizer for one in results if not one.refused}
    members = [one.name for one in board.optimizers if one.is_tuned == is_tuned and one.name in somewhere]
    found = {name: row for name in members if (row := axes(name)) is not None}
    if not found:
        return None
    medians = {name: tuple(one.median if one else None for one in row) for name, row in found.items()}
    reference, of_reference = board.spec.reference, axes(board.spec.reference)
    faster: tuple[Speedup, ...] = ()
    if of_reference is not None:
        both = {**found, reference: of_reference}
        faster = tuple(speedup(name, reference, tasks, both) for name in found if name != reference)
    ranks = row_ranks(np.array([[math.inf if time is None else time for time in row] for row in medians.values()]).T)
    intervals, tested = mean_rank_intervals(ranks), friedman(ranks)
    return AcrossTasks(
        tasks=tasks,
        variants=tuple(found),
        baseline=reference,
        axis=AXIS,
        profiles=performance_profiles(medians),
        speedups=faster,
        score="",
        iqm={},
        ranks={name: (float(ranks[:, at].mean()), intervals[at]) for at, name in enumerate(found)},
        friedman_p=tested.p if tested else None,
        notes=(),
        times=medians,
        metrics=tuple(targets[task].metric for task in tasks),
    )


def _notes(planned: Planned, results: Sequence[Result], machines: int) -> list[str]:
    """What is missing, and what makes times unequal."""
    said = [f"Workload {name} is left out: {reason}" for name, reason in planned.without_data.items()]
    refused: dict[tuple[str, str], list[str]] = {}
    for one in results:
        if one.refused:
            refused.setdefault((one.optimizer, one.refused), []).append(one.workload)
    for (name, reason), where in refused.items():
        if len(where) == len(planned.experiments):
            said.append(f"{name} is left out: {reason}")
        else:
            said.append(f"{name} does not go with {listed(where)}, and never gets there: {reason}")
    open_ = [f"{one.workload}/{one.optimizer}" for one in results if one.is_open]
    if open_:
        said.append(
            f"Runs are still to come of {listed(open_)}; an optimizer counts in the tables when it is complete."
        )
    never = [f"{one.workload}/{one.optimizer}" for one in results if not (one.records or one.is_open or one.refused)]
    if never:
        said.append(f"No trial of {listed(never)} came to a value: it never gets there.")
    if machines > 1:
        said.append(f"The runs are of {machines} machines or versions: their seconds do not compare.")
    return said
