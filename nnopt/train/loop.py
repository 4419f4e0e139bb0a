"""The training loop: visible from the first batch to the last."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nnopt.errors import DivergedError
from nnopt.plan import RunSpec
from nnopt.spec.metric_names import higher_is_better
from nnopt.train import checkpoint
from nnopt.train.evaluation import Result, evaluate
from nnopt.train.horizon import Period
from nnopt.train.listener import Listener, Moment
from nnopt.train.memory import PeakMemory
from nnopt.train.output import StepRecorder, Tables
from nnopt.train.setup import Setup
from nnopt.train.signals import StopRequest
from nnopt.train.state import Means, Row, TrainState, generator_states, set_generator_states

PULSE_SECONDS = 0.1  # how often a watcher hears of a run
BUDGET_USED = "the budget is used up"


@dataclass
class Session:
    """One sitting of a run: what it is, where it writes, who listens, who may stop it."""

    run: RunSpec
    setup: Setup
    state: TrainState
    folder: Path
    tables: Tables
    recorder: StepRecorder
    memory: PeakMemory
    listener: Listener
    stop: StopRequest


def train(session: Session) -> str:
    """Trains until the budget is used up or early stopping ends it; says which.

    Raises:
        DivergedError: a loss is not finite.
        Interrupted: a signal came; the state is checkpointed.
        DiskError: the disk refused a write.
    """
    setup, state = session.setup, session.state
    settings, backward, horizon = setup.settings, setup.backward, setup.horizon
    clock, progress, recorder = state.clock, state.progress, session.recorder
    decay = settings.strategy.lr_decay
    finite = state.scaler.finite if state.scaler else None
    samples = len(setup.data.train)
    evaluations = Period(settings.evaluation.every, samples)
    checkpoints = Period(settings.checkpoint.every, samples) if settings.checkpoint.every else None
    periods = evaluations.passed(progress.step, progress.samples, clock.read())
    kept = checkpoints.passed(progress.step, progress.samples, clock.read()) if checkpoints else 0
    backward.evaluations = progress.gradient_evaluations
    saved = progress.step
    pulse = Pulse(session)
    lr = settings.optimizer.lr

    if settings.strategy.compile:
        warm_up(session)
    if settings.evaluation.at_start and progress.step == 0 and progress.last_row is None:
        judge(session, lr)
    clock.switch("train")
    while not horizon.used_up(progress.step, progress.samples, clock.read()):
        if state.stopping and state.stopping.reached:
            break
        if session.stop.code is not None:
            with clock.account("logging"):
                recorder.flush(progress.step, state.means, progress)
            save_state(session)
            session.stop.raise_if_set()

        before, after = horizon.shares(progress.step, progress.samples, clock.read())
        lr = settings.optimizer.lr * decay.multiplier(before, after)
        if state.plateau:
            lr *= state.plateau.multiplier
        rows = setup.order.take(state.position, horizon.batch_size(before))
        backward.begin(rows, norm_wanted=recorder.logs(progress.step + 1))
        state.optimizer.step(backward, lr, finite)
        if state.scaler:
            state.scaler.update()
        assert backward.loss is not None
        progress.step += 1
        progress.samples += samples if rows is None else len(rows)
        progress.gradient_evaluations = backward.evaluations
        recorder.add(backward.loss, lr, backward.gradient_norm)

        now = clock.read()
        if state.average:
            state.average.update(before, progress.step, progress.samples, now)
        passed = evaluations.passed(progress.step, progress.samples, now)
        if passed > periods or horizon.used_up(progress.step, progress.samples, now):
            periods = passed
            judge(session, lr)
            if checkpoints is None:
                save_state(session)
                saved = progress.step
        elif now > pulse.next:
            pulse.beat(after, lr)
        if checkpoints and (count := checkpoints.passed(progress.step, progress.samples, now)) > kept:
            kept = count
            with clock.account("logging"):
                recorder.flush(progress.step, state.means, progress)
            save_state(session)
            saved = progress.step

    if progress.last_row is None or progress.last_row["step"] != progress.step:
        judge(session, lr)  # a budget of seconds that ran out between two looks at the clock
        saved = -1
    if saved != progress.step:
        save_state(session)
    return state.stopping.reason if state.stopping and state.stopping.reached else BUDGET_USED


class Pulse:
    """Tells the listener how a run is doing, about ten times a second."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.next = 0.0  # training seconds from which on the next beat is due
        self._before = (time.perf_counter(), session.state.progress.samples)

    def beat(self, share: float, lr: float) -> None:
        """Reads the losses since the last beat (an accelerator is not waited for) and passes them on."""
        session, progress = self.session, self.session.state.progress
        if session.setup.device.type == "cpu":
            with session.state.clock.account("logging"):
                session.recorder.flush(progress.step, session.state.means, progress)
        now = (time.perf_counter(), progress.samples)
        rate = (now[1] - self._before[1]) / max(now[0] - self._before[0], 1e-9)
        self._before = now
        loss = math.nan if progress.last_loss is None else progress.last_loss
        session.listener.moment(session.run.label, Moment(progress.step, share, loss, lr, rate))
        self.next = session.state.clock.read() + PULSE_SECONDS


def judge(session: Session, lr: float) -> None:
    """Evaluates on the validation data, writes the row, and takes in what follows from it."""
    setup, state, progress = session.setup, session.state, session.state.progress
    with state.clock.account("logging"):
        session.recorder.flush(progress.step, state.means, progress)
    with state.clock.account("evaluation"):
        result = evaluate_part(setup, state, "validation")
    if not math.isfinite(result.values["loss"]):
        raise DivergedError(progress.step, progress.last_loss)
    with state.clock.account("logging"):
        progress.memory_peak_bytes = max(progress.memory_peak_bytes, session.memory.read())
        row = make_row(setup, state, result, lr)
        better = take_bests(row, progress.bests)
        if setup.settings.select in better:
            save_best(session, setup.settings.select)
        target = setup.settings.evaluation.target
        if target and progress.target is None and reaches(row.get(target.metric), target.metric, target.value):
            progress.target = row
        if state.plateau:
            state.plateau.update(_number(row, setup.settings.strategy.lr_decay.metric))  # type: ignore[attr-defined]
        if state.stopping:
            state.stopping.update(_number(row, state.stopping.spec.metric))
        session.tables.add_row(row)
        progress.last_row = row
        state.means = Means(train_seconds=state.clock.seconds["train"], samples=progress.samples)
        session.listener.row(session.run.label, row)


def _number(row: Row, column: str) -> float:
    """A value of a row, NaN where it is missing."""
    value = row[column]
    return math.nan if value is None else float(value)


def evaluate_part(setup: Setup, state: TrainState, part: str) -> Result:
    """Metrics on "validation" or "test" data, of the averaged weights where there are."""

    def run() -> Result:
        return evaluate(
            setup.forward,
            getattr(setup.data, part),
            setup.data,
            setup.loss,
            setup.metrics,
            setup.settings.evaluation.batch_size,
            setup.autocast,
        )

    if state.average is None:
        return run()
    with state.average.in_place():
        return run()


def make_row(setup: Setup, state: TrainState, result: Result, lr: float) -> Row:
    """One row of metrics.csv."""
    progress, means = state.progress, state.means
    seconds = state.clock.seconds["train"]
    spent = seconds - means.train_seconds
    gap = None if means.loss is None else result.values["loss"] - means.loss
    return {
        "step": progress.step,
        "epoch": progress.samples / len(setup.data.train),
        "samples": progress.samples,
        "train_seconds": seconds,
        "lr": lr,
        "train_loss": means.loss,
        **{f"val_{name}": value for name, value in result.values.items()},
        "generalisation_gap": gap,
        "grad_norm": means.norm,
        "gradient_evaluations": progress.gradient_evaluations,
        "samples_per_second": (progress.samples - means.samples) / spent if spent > 0 else None,
        "memory_peak_bytes": progress.memory_peak_bytes,
    }


def take_bests(row: Row, bests: dict[str, dict[str, float | int]]) -> set[str]:
    """Notes new best values by column, and returns the columns that have one."""
    better = set()
    for column, value in row.items():
        if value is None or not (column.startswith("val_") or column == "train_loss"):
            continue
        old = bests.get(column)
        sign = 1 if higher_is_better(column) else -1
        if old is None or sign * value > sign * old["value"]:
            bests[column] = {"value": value, "step": int(row["step"] or 0)}
            better.add(column)
    return better


def reaches(value: float | None, column: str, wanted: float) -> bool:
    """Whether a value is at least as good as the target."""
    if value is None:
        return False
    return value >= wanted if higher_is_better(column) else value <= wanted


def save_state(session: Session) -> None:
    """Writes the whole state as the newest checkpoint."""
    with session.state.clock.account("checkpoint"):
        state = session.state.state_dict()
        folder = session.folder / checkpoint.FOLDER
        checkpoint.save_last(folder, {"identity": identity(session.run), "state": state})


def save_best(session: Session, column: str) -> None:
    """Writes the weights that were just evaluated (averaged ones, where there is an average)."""
    state = session.state

    def save() -> None:
        best = state.progress.bests[column]
        content: dict[str, Any] = {
            "identity": identity(session.run),
            "metric": column,
            **best,
            "model": dict(state.model.state_dict()),
        }
        checkpoint.save(session.folder / checkpoint.FOLDER / checkpoint.BEST, content)

    with state.clock.account("checkpoint"):
        if state.average is None:
            save()
        else:
            with state.average.in_place():
                save()


def identity(run: RunSpec) -> dict[str, Any]:
    """What a checkpoint is of."""
    return {
        "run": run.label,
        "spec_hash": run.hash,
        "hash_without_budget": run.hash_without_budget,
        "seed": run.seed,
    }


def warm_up(session: Session) -> None:
    """Compiles by forward and backward passes, for each size of batch an epoch has, whose effect is undone."""
    setup, state = session.setup, session.state
    with state.clock.account("compile"):
        weights = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
        generators = generator_states(state.device)
        size, samples = setup.horizon.batch_size(0.0), len(setup.data.train)
        for rows in filter(None, (size, samples % size)):
            setup.backward.begin(torch.arange(rows, device=state.device), norm_wanted=False)
            setup.backward()
        state.model.load_state_dict(weights)
        set_generator_states(generators, state.device)
        setup.backward.evaluations = state.progress.gradient_evaluations
