"""An evaluation and what follows from it: a row, new bests, the target, a plateau, early stopping."""

from __future__ import annotations

import math
from contextlib import nullcontext

from nnopt.errors import DivergedError
from nnopt.spec.metric_names import higher_is_better
from nnopt.train.diagnosis import diagnose
from nnopt.train.evaluation import Result, evaluate
from nnopt.train.session import Session, flush, save_best
from nnopt.train.setup import Setup
from nnopt.train.state import Means, Row, TrainState
from nnopt.train.traffic import traffic_of


def judge(session: Session, lr: float) -> None:
    """Evaluates on the validation data, writes the row, and takes in what follows from it."""
    setup, state, progress = session.setup, session.state, session.state.progress
    flush(session)
    with state.clock.account("evaluation"):
        result = evaluate_part(setup, state, "validation")
    if not math.isfinite(result.values["loss"]):
        raise DivergedError(progress.step, progress.last_loss)
    diagnose(session)
    with state.clock.account("logging"):
        progress.memory_peak_bytes = max(progress.memory_peak_bytes, session.memory.read())
        row = make_row(setup, state, result, lr)
        row |= {} if setup.settings.parallel is None else traffic_of(session)
        if progress.last_row is not None and progress.last_row["step"] == progress.step:
            _take_over_training(progress.last_row, row)
        better = take_bests(row, progress.bests)
        if setup.settings.checkpoint.best and setup.settings.select in better:
            save_best(session, setup.settings.select)
        target = setup.settings.evaluation.target
        if target and progress.target is None and reaches(row.get(target.metric), target.metric, target.value):
            progress.target = row
        if state.plateau:
            state.plateau.update(_number(row, setup.settings.strategy.lr_decay.metric))  # type: ignore[attr-defined]
        if state.stopping and trains_to_the_end(state):
            state.stopping.update(_number(row, state.stopping.spec.metric))
        session.tables.add_row(row)
        progress.last_row = row
        state.means = Means(train_seconds=state.clock.seconds["train"], samples=progress.samples)
        session.listener.row(session.run.label, row)
        session.tracking.row(row)


def trains_to_the_end(state: TrainState) -> bool:
    """Whether the network that was evaluated is the one that trains, and the last that does."""
    return state.shaping is None or (state.shaping.is_final and not state.shaping.is_past_training)


def _number(row: Row, column: str) -> float:
    """A value of a row, NaN where it is missing."""
    value = row[column]
    return math.nan if value is None else float(value)


def evaluate_part(setup: Setup, state: TrainState, part: str) -> Result:
    """Metrics on "validation" or "test" data, of the averaged weights where there are."""

    def run() -> Result:
        return evaluate(
            state.delivered or setup.forward,
            getattr(setup.data, part),
            setup.data,
            setup.loss,
            setup.metrics,
            setup.settings.evaluation.batch_size,
            setup.autocast,
            setup.test_time,
        )

    together = setup.together
    average = nullcontext() if state.average is None or state.delivered is not None else state.average.in_place()
    with together.judged(), average:
        result = run() if together.is_sharded or together.team.is_lead else None
    result = result if together.is_sharded else together.team.told(result)
    assert result is not None
    return result


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


def _take_over_training(before: Row, row: Row) -> None:
    """What training was like up to a step that is evaluated once more, as the network has changed after it."""
    for column in ("lr", "train_loss", "grad_norm", "samples_per_second"):
        row[column] = before[column]
    if before["train_loss"] is not None:
        row["generalisation_gap"] = _number(row, "val_loss") - before["train_loss"]


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
