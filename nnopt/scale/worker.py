"""The process of a worker: imports torch and loads data once, and trains the jobs that it is handed."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection

from nnopt.errors import NnoptError
from nnopt.plan import RunSpec
from nnopt.scale.agency import FREE
from nnopt.scale.forks import become
from nnopt.scale.group import train_in_group, wants_group
from nnopt.scale.sender import Line, Sender
from nnopt.scale.supply import Job
from nnopt.store.lock import wait_until_free
from nnopt.store.place import place
from nnopt.store.record import RunRecord
from nnopt.surroundings import Surroundings
from nnopt.train.experiment import Options
from nnopt.train.runner import Workshop, run_one
from nnopt.train.session import Cut
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest, stop_requests

SECONDS_TO_FREE = 30.0  # that a lost worker may take to let go of its folder


def carry_out_job(job: Job, shop: Workshop, fresh: bool) -> str:
    """Trains the runs of a job up to the first that is not done; the status of the last that was looked at.

    Every worker of every agency comes through here.

    Raises:
        Interrupted, DiskError, UsageError: as `run_one`.
    """
    status = "done"
    for run in job.runs:
        shop.stop.raise_if_set()
        if job.is_taken_up:
            wait_until_free(place(run, shop.runs_dir).folder, SECONDS_TO_FREE)
        status = train_one(run, shop, fresh, job.cut).status
        if status != "done":
            break
    return status


def train_one(run: RunSpec, shop: Workshop, fresh: bool = False, cut: Cut | None = None) -> RunRecord:
    """As `run_one`, by as many processes as the run asks for."""
    is_left = fresh or shop.profile or not place(run, shop.runs_dir).is_finished
    size = wants_group(run) if is_left else 1
    return run_one(run, shop, fresh, cut) if size == 1 else train_in_group(run, shop, fresh, cut, size)


def work(connection: Connection, options: Options, surroundings: Surroundings) -> None:
    """Trains the jobs that come through `connection` until it closes; in between the process sleeps."""
    become(surroundings)
    with stop_requests() as stop:
        # Ctrl-C reaches the whole group: the parent passes it on once.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        serve(connection, options, stop)


def serve(line: Line, options: Options, stop: StopRequest) -> None:
    """Trains the jobs that come over `line` until it closes, or `stop` was asked for."""
    sender = Sender(line, stop)
    shop = Workshop(
        options.runs_dir, DataCache(), sender, stop, options.most_threads, options.profile, options.max_restarts
    )
    while True:
        try:
            job = line.recv()
        except EOFError:
            return
        status, error = "", None
        try:
            status = carry_out_job(job, shop, options.fresh)
        except NnoptError as problem:
            error = (problem.exit_code, str(problem))
        sender.send(FREE, status, error)
        if stop.code is not None:
            return
