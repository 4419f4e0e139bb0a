"""Runs of one plan side by side."""

from __future__ import annotations

from nnopt.plan import Plan
from nnopt.scale.crew import carry_out
from nnopt.scale.supply import Fixed
from nnopt.store.find import read_run
from nnopt.store.place import place
from nnopt.store.record import RunRecord
from nnopt.train.devices import cores
from nnopt.train.experiment import Options, check_plan
from nnopt.train.listener import Listener
from nnopt.train.setup import DataCache
from nnopt.train.signals import stop_requests


def train_side_by_side(plan: Plan, options: Options, listener: Listener, jobs: int) -> list[RunRecord]:
    """As `train_plan`, with `jobs` runs at a time, each in a process of its own.

    A worker that dies costs the run it was at, not the others: the run can be resumed, and is reported as failed.
    """
    with stop_requests() as stop:
        left, threads = check_plan(plan, options, DataCache())
        if min(jobs, len(left)) * threads > cores():
            listener.note(plan.experiment.name, _too_many(jobs, threads))
        finished = [run for run in plan.runs if run not in left]
        for run in finished:
            record = place(run, options.runs_dir).found
            listener.skipped(run.label, record.status if record else "done")
        supply = Fixed(left)
        carry_out(supply, options, listener, stop, jobs)
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
