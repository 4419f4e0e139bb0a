"""An experiment from its plan to its records, one run after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from nnopt.errors import DeviceError, UsageError
from nnopt.plan import Plan, RunSpec
from nnopt.store.files import make_folder
from nnopt.store.place import place
from nnopt.store.record import RunRecord
from nnopt.track.tracking import check_installed
from nnopt.train.devices import check_precision, find_device
from nnopt.train.listener import Listener
from nnopt.train.runner import Workshop, run_one
from nnopt.train.setup import DataCache, build
from nnopt.train.signals import stop_requests
from nnopt.train.teachers import check_teachers, check_teachers_are_there
from nnopt.train.transfer import check_source, check_sources_are_there
from nnopt.train.unchanged import check_unchanged

BAD = ("failed", "diverged")


@dataclass(frozen=True)
class Options:
    """How a plan is carried out; none of it changes a number."""

    runs_dir: Path
    fresh: bool = False
    fail_fast: bool = False
    most_threads: int | None = None  # that `threads: auto` takes: runs side by side share the cores
    profile: bool = False  # each run says where the time of its steps goes
    max_restarts: int = 0  # how often a run whose process was lost is taken up again from its checkpoint
    elsewhere: bool = False  # runs train on other machines, whose devices are not those of this one


class Checked(NamedTuple):
    """A plan that can be carried out: the runs left to do, and the most CPU threads that one of them takes."""

    left: list[RunSpec]
    threads: int


def check_plan(plan: Plan, options: Options, cache: DataCache) -> Checked:
    """Builds what each variant needs, so that a mistake is found before anything is written.

    Raises:
        UsageError: data, model, loss, batch, device or precision of a variant do not fit together, a tracker is
            not installed, the data of a run that is done changed since, or the runs folder cannot be written.
    """
    left = [run for run in plan.runs if options.fresh or not place(run, options.runs_dir).is_finished]
    check_unchanged([run for run in plan.runs if run not in left], options.runs_dir, cache)
    if left:
        check_installed(plan.experiment.track)
    first = {run.variant: run for run in reversed(left)}
    planned = {run.label: run for run in plan.runs}
    threads = 1
    for run in (first[name] for name in plan.experiment.variants if name in first):
        try:
            setup, state = build(as_here(run) if options.elsewhere else run, cache, most_threads=options.most_threads)
            check_teachers(run, setup, state, planned, options.runs_dir, cache)
            check_source(run, state.model, planned, options.runs_dir, cache, options.fresh)
        except UsageError as error:
            if len(plan.experiment.variants) == 1:
                raise
            raise type(error)(f"variant {run.variant}: {error}") from None
        threads = max(threads, setup.threads)
    check_teachers_are_there(left, planned, options.runs_dir)
    check_sources_are_there(left, planned, options.runs_dir, options.fresh)
    make_folder(options.runs_dir)
    return Checked(left, threads)


def as_here(run: RunSpec) -> RunSpec:
    """`run` on the CPU where its device is not on this machine: for a look at all else before it trains elsewhere."""
    settings = run.settings
    try:
        check_precision(settings.strategy.precision, find_device(settings.device))
    except DeviceError:
        strategy = settings.strategy.model_copy(update={"precision": "fp32"})
        return replace(run, settings=settings.model_copy(update={"device": "cpu", "strategy": strategy}))
    return run


TrainOne = Callable[[RunSpec, Workshop, bool], RunRecord]  # as `run_one`


def train_plan(
    plan: Plan,
    options: Options,
    listener: Listener,
    cache: DataCache | None = None,
    train_one: TrainOne = run_one,
) -> list[RunRecord]:
    """Trains what is left of a plan and returns the records of all its runs (with fail-fast, of those up to a bad one).

    Raises:
        UsageError: as `check_plan`, or a run's folder is held by another program.
        Interrupted: a signal came; everything done is kept.
        DiskError: the disk refused a write; everything done before is kept.
    """
    with stop_requests() as stop:
        shop = Workshop(
            *(options.runs_dir, cache or DataCache(), listener, stop),
            *(options.most_threads, options.profile, options.max_restarts),
        )
        check_plan(plan, options, shop.cache)
        records = _train_all(plan.in_turn, shop, options, train_one)
    order = {run.label: place for place, run in enumerate(plan.runs)}
    return sorted(records, key=lambda record: order[record.name])


def _train_all(runs: Sequence[RunSpec], shop: Workshop, options: Options, train_one: TrainOne) -> list[RunRecord]:
    records = []
    for run in runs:
        shop.stop.raise_if_set()
        record = train_one(run, shop, options.fresh)
        records.append(record)
        if options.fail_fast and record.status in BAD:
            break
    return records
