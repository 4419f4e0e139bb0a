"""Runs of one plan side by side."""

from __future__ import annotations

from dataclasses import replace

from nnopt.errors import UsageError
from nnopt.plan import Plan
from nnopt.scale.crew import carry_out
from nnopt.scale.needs import Needs
from nnopt.scale.on import agency_on
from nnopt.scale.outer import outer_team
from nnopt.scale.supply import Fixed
from nnopt.scale.worker import train_one
from nnopt.store.find import read_run
from nnopt.store.place import place
from nnopt.store.record import RunRecord
from nnopt.surroundings import cores
from nnopt.train.experiment import Options, check_plan, train_plan
from nnopt.train.listener import Listener
from nnopt.train.setup import DataCache
from nnopt.train.signals import stop_requests


def train_runs(
    plan: Plan, options: Options, listener: Listener, jobs: int | None = None, on: str | None = None
) -> list[RunRecord]:
    """Trains what is left of a plan and returns the records of its runs: here one by one, or in workers.

    Raises:
        NnoptError: as `train_plan`.
    """
    with outer_team(plan) as team:
        if not team.is_alone:
            if (jobs or 1) > 1 or on is not None:
                raise UsageError("torchrun's processes train one run after the other: leave --jobs and --on out")
            return train_plan(plan, options, listener if team.is_lead else Listener())
        if on is None and (jobs or 1) == 1 and not options.max_restarts:
            return train_plan(plan, options, listener, train_one=train_one)
        return train_side_by_side(plan, options, listener, jobs, on)


def train_side_by_side(
    plan: Plan, options: Options, listener: Listener, jobs: int | None, on: str | None = None
) -> list[RunRecord]:
    """As `train_plan`, with `jobs` runs at a time: each in a process of its own, or in a worker where `on` says.

    A worker that dies costs the run it was at, not the others: it is taken up from its checkpoint as often as
    `options` allow, and then reported as failed; it can be resumed.
    """
    with stop_requests() as stop, agency_on(on, options, jobs, plan.experiment.cluster) as agency:
        options = replace(options, elsewhere=agency is not None)
        left, threads = check_plan(plan, options, DataCache())
        if agency is not None:
            agency.fit(Needs.of(plan.experiment.cluster, (run.settings for run in left), threads))
        elif min(jobs or 1, len(left)) * threads > cores():
            listener.note(plan.experiment.name, _too_many(jobs or 1, threads))
        if options.profile:
            listener.note(plan.experiment.name, "profiled side by side: runs disturb each other's times")
            left = list(plan.runs)  # those that are done are profiled too
        finished = [run for run in plan.runs if run not in left]
        for run in finished:
            record = place(run, options.runs_dir).found
            listener.skipped(run.label, record.status if record else "done")
        supply = Fixed(left)
        if left:
            carry_out(supply, options, listener, stop, jobs, agency=agency)
    records = []
    for run in plan.runs:
        found = place(run, options.runs_dir)
        if found.found is not None and found.relation == "same":
            records.append(supply.marked(read_run(found.folder)))
    return records


def _too_many(jobs: int, threads: int) -> str:
    return (
        f"{jobs} jobs of {threads} threads each on {cores()} cores get in each other's way; "
        "strategy.threads=1 lets each run take one (another thread count is another run, with other rounding)"
    )
