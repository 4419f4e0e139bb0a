"""How much of a scoreboard is left to do, and about how long that takes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnopt.bench.scoreboard.board import Board, Workload
from nnopt.bench.scoreboard.experiments import Experiments, experiment_name
from nnopt.store.find import read_runs, run_folders
from nnopt.store.record import FINISHED, RunRecord

# Besides the seconds of its cap a run builds, evaluates and writes: so much of the cap, and so many seconds, at most.
BESIDE_SHARE, BESIDE_SECONDS = 0.5, 1.5
# Until runs of a workload are there to tell: most end at the target, at about this share of all that they may take.
USUAL_SHARE = 0.5
STARTUP_SECONDS = 4.0  # of the processes of one workload


@dataclass(frozen=True)
class Left:
    """What is left of one workload. `most` and `about` are seconds of one process."""

    workload: str
    trials: int
    runs: int
    done: int
    most: float
    about: float


@dataclass(frozen=True)
class Estimate:
    """What is left of all; `most` is by the caps, `about` as far as earlier runs tell. Wall seconds with `jobs`."""

    workloads: tuple[Left, ...]
    jobs: int

    @property
    def trials(self) -> int:
        """Trials of searches that are left."""
        return sum(one.trials for one in self.workloads)

    @property
    def runs(self) -> int:
        """Runs on fresh seeds that are left."""
        return sum(one.runs for one in self.workloads)

    @property
    def most(self) -> float:
        """Wall seconds if no run ends before its cap."""
        return self._wall([one.most for one in self.workloads])

    @property
    def about(self) -> float:
        """Wall seconds, as far as is known."""
        return self._wall([one.about for one in self.workloads])

    def _wall(self, seconds: Sequence[float]) -> float:
        return sum(one / self.jobs + (STARTUP_SECONDS if one and self.jobs > 1 else 0.0) for one in seconds)


def estimate_board(
    board: Board, planned: Sequence[Experiments], runs_dir: Path, jobs: int, done_counts: bool = True
) -> Estimate:
    """What is left of the trials and the runs on fresh seeds, all of them where what is done does not count.

    Reads what lies on the disk, and writes nothing.
    """
    found = []
    for one in planned:
        tuned = list(one.tuned.variants) if one.tuned else []
        untuned = list(one.untuned.variants) if one.untuned else []
        wanted = dict.fromkeys(tuned, (board.spec.trials, board.spec.seeds))
        wanted |= dict.fromkeys(untuned, (0, board.spec.seeds))
        name = experiment_name(board, one.workload)
        records = _records(runs_dir / name) if done_counts else []
        found.append(_left(one.workload, one.workload.cap, wanted, records))
    return Estimate(tuple(found), jobs)


def estimate_targets(
    board: Board, workloads: Sequence[Workload], runs_dir: Path, jobs: int, done_counts: bool = True
) -> Estimate:
    """The same for the runs that targets are fixed from: none of them ends early."""
    spec, found = board.spec.targets, []
    for workload in workloads:
        wanted = dict.fromkeys(spec.baselines, (spec.trials, spec.seeds))
        folder = runs_dir / experiment_name(board, workload, targets=True)
        records = _records(folder) if done_counts else []
        found.append(_left(workload, workload.cap * spec.share, wanted, records, 1.0))
    return Estimate(tuple(found), jobs)


def _records(folder: Path) -> list[RunRecord]:
    records, _ = read_runs(run_folders(folder)) if folder.is_dir() else ([], [])
    return [record for record in records if record.status in FINISHED]


def _left(
    workload: Workload,
    cap: float,
    wanted: Mapping[str, tuple[int, int]],
    records: Sequence[RunRecord],
    usual: float = USUAL_SHARE,
) -> Left:
    trials = runs = 0
    for name, (some_trials, some_runs) in wanted.items():
        own = [record for record in records if record.variant == name]
        trials += max(0, some_trials - sum(record.trial is not None for record in own))
        runs += max(0, some_runs - sum(record.trial is None for record in own))
    a_run = cap * (1 + BESIDE_SHARE) + BESIDE_SECONDS
    spent = [sum((record.summary.get("seconds") or {}).values()) for record in records]
    about = statistics.fmean(spent) + 0.2 if spent else a_run * usual
    count = trials + runs
    return Left(workload.name, trials, runs, len(records), count * a_run, count * min(about, a_run))
