"""What a search would do: its trials as far as they are known beforehand, their count, and about how long they take."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnopt.compare.search.trial import Trial
from nnopt.plan import RunSpec
from nnopt.search.confirm import chosen, winner_runs
from nnopt.search.estimate import Cost, measure, seconds_of
from nnopt.search.lane import Lane, Subject
from nnopt.search.ledger import STUDY, Ledger, open_storage
from nnopt.search.opening import asked_for, gone_on_from, search_of
from nnopt.search.probes import check_space, probes
from nnopt.search.sweep import SweepOptions, subjects_of
from nnopt.spec.experiment import ExperimentSpec
from nnopt.store.place import place
from nnopt.store.search_file import SearchedVariant, SearchFile
from nnopt.train.setup import DataCache

STARTUP_SECONDS = 3.0  # of a worker process: it imports torch and loads the data


@dataclass(frozen=True)
class VariantPlan:
    """What is left of one variant's search.

    `settings` are the trials that are known beforehand, by number: all of them unless results steer the sampler.
    `trial_seconds` is of one trial (all its seeds), `confirm_seconds` of the runs that confirm the winner.
    """

    variant: str
    done: int
    left: int
    settings: Mapping[int, Mapping[str, Any]]
    trial_seconds: float
    confirm_runs: int
    confirm_seconds: float


@dataclass(frozen=True)
class SweepPlan:
    """What is left of a search. `seconds` is about how long it takes with so many jobs, if no trial is over a limit."""

    variants: tuple[VariantPlan, ...]
    seeds_per_trial: int
    jobs: int
    seconds: float
    limits: Mapping[str, float]


def plan_sweep(experiment: ExperimentSpec, options: SweepOptions) -> SweepPlan:
    """Looks at what was searched, measures a short run of each variant, and writes nothing.

    Raises:
        UsageError: as `sweep`.
    """
    search = search_of(experiment)
    folder = options.runs_dir / experiment.name
    asked = asked_for(experiment)
    before = None if options.fresh else SearchFile.read(folder)
    file = asked if before is None else gone_on_from(before, asked)
    cache = DataCache(options.runs_dir)
    plans = []
    with ExitStack() as stack:
        looked_at = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if before is not None and (folder / STUDY).exists():
            shutil.copy(folder / STUDY, looked_at)  # opening it may write
        storage = stack.enter_context(open_storage(looked_at))
        for subject in subjects_of(experiment, file, options.runs_dir):
            searched = file.variants[subject.variant]
            check_space(subject, searched.space, cache)
            name = f"{experiment.name}/{subject.variant}"
            ledger = Ledger(storage, name, file.higher_is_better, {}, file.against is not None)
            lane = Lane(subject, searched.rounds, ledger)
            cost, trial = _measured(subject, searched.space, cache)
            confirm = _to_confirm(lane, searched, trial, file, options.runs_dir)
            plans.append(
                VariantPlan(
                    subject.variant,
                    sum(_is_over(lane, one) for one in ledger.trials),
                    lane.left,
                    _settings(lane),
                    sum(seconds_of(run, cost) for run in subject.runs(trial)),
                    len(confirm),
                    sum(seconds_of(run, cost) for run in confirm),
                )
            )
    total = sum(plan.left * plan.trial_seconds + plan.confirm_seconds for plan in plans)
    jobs = options.jobs or 1
    startup = STARTUP_SECONDS if jobs > 1 else 0.0
    return SweepPlan(tuple(plans), len(search.trial_seeds), jobs, startup + total / jobs, file.limits)


def _to_confirm(
    lane: Lane, searched: SearchedVariant, typical: Trial, file: SearchFile, runs_dir: Path
) -> list[RunSpec]:
    """The runs on fresh seeds that are left; before the search is over as many as there may be, of a typical trial."""
    subject = lane.subject
    winners = chosen(subject, lane.ledger.trials) if not lane.left else ()
    if winners:
        runs = [run for one in winners for run in winner_runs(subject, one, searched, file.confirm_seeds)]
        return [run for run in runs if not place(run, runs_dir).is_finished]
    confirm = subject.search.confirm
    count = confirm.at_most if confirm is not None and file.against is not None else 1
    return winner_runs(subject, typical, searched, file.confirm_seeds) * count


def _measured(subject: Subject, space: Mapping[str, Any], cache: DataCache) -> tuple[Cost, Trial]:
    """The costs of a run in the middle of the space, and that trial."""
    _, setting = next(iter(probes(space)))
    trial = Trial(0, setting, "running")
    return measure(subject.runs(trial)[0], cache), trial


def _settings(lane: Lane) -> dict[int, Mapping[str, Any]]:
    """The trials that are left and known beforehand, by number."""
    known = {trial.number: trial.setting for trial in lane.ledger.trials if not _is_over(lane, trial)}
    return known | dict(enumerate(lane.planned(), len(lane.ledger.trials)))


def _is_over(lane: Lane, trial: Trial) -> bool:
    return trial.is_finished and not lane.subject.is_deleted(trial)
