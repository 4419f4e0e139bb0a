"""How long runs would take, from a short measured piece of one."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnopt.errors import TrainingError
from nnopt.plan import RunSpec
from nnopt.search.steps import Steps, still_rate
from nnopt.spec.evaluation import CheckpointSpec
from nnopt.spec.experiment import RunSettings
from nnopt.spec.strategy import GrowingBatch
from nnopt.spec.timing import Budget, Every
from nnopt.train.listener import Listener
from nnopt.train.runner import Workshop, run_one
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest
from nnopt.train.teachers import build_with_teachers

SHORT_SECONDS = 0.1  # of updates, to learn how their time grows with the batch
PIECE_SECONDS = 0.3  # of training in the measured run
AGAIN_BELOW = 1.0  # seconds: so short a run is measured twice, as the first of a process loads what later ones have


@dataclass(frozen=True)
class Cost:
    """Seconds of a run's parts, as measured. An update of n samples takes `update` + n x `sample`."""

    setup: float  # all that a run takes besides the rest: building, its folder, what it says of itself
    update: float
    sample: float
    evaluation: float  # on the validation data, with its row in the tables
    test: float  # on the test data, once
    checkpoint: float  # one file of them
    samples: int  # in the training data


def measure(run: RunSpec, cache: DataCache) -> Cost:
    """The costs of `run`, from about a second of training in a folder that is thrown away.

    They hold for runs with the same data, model, optimizer, precision and threads; `seconds_of` follows the batch
    size. The rate is too small to change the weights, so that no setting diverges meanwhile.

    Raises:
        UsageError: data, model, loss, batch, device or precision do not fit together.
        TrainingError: the measured run failed.
    """
    steps = Steps(*build_with_teachers(run, cache))
    size = steps.setup.horizon.batch_size(0.0)
    count, _ = steps.count_for(size, PIECE_SECONDS)
    fixed = _fixed_share(steps, size)
    piece = _piece(run, count, size)
    wall, summary = _timed(piece, cache)
    if wall < AGAIN_BELOW:
        wall, summary = _timed(piece, cache)
    seconds, done = summary["seconds"], summary["steps"]
    data = steps.setup.data
    validation, test = len(data.validation), len(data.test)
    a_pass = seconds["evaluation"] / max(1, validation + test)  # it was evaluated on both, once
    accounted = sum(seconds[account] for account in ("train", "evaluation", "logging", "checkpoint"))
    return Cost(
        setup=max(0.0, wall - accounted),
        update=seconds["train"] * fixed / done,
        sample=seconds["train"] * (1 - fixed) / summary["samples"],
        evaluation=a_pass * validation + seconds["logging"],
        test=a_pass * test,
        checkpoint=seconds["checkpoint"] / 2,  # the state and the best weights, once each
        samples=len(data.train),
    )


def seconds_of(run: RunSpec, cost: Cost) -> float:
    """Wall seconds of the whole run by its budget; early stopping and pruning would make it shorter."""
    settings = run.settings
    steps, samples = _length(settings, cost)
    training = steps * cost.update + samples * cost.sample
    evaluations = _times(settings.evaluation.every, steps, samples, training, cost)
    every = settings.checkpoint.every
    states = evaluations if every is None else _times(every, steps, samples, training, cost)
    bests = evaluations if settings.checkpoint.best else 0
    tests = 2 if run.trial is None else 0
    return (
        cost.setup
        + training
        + (evaluations + settings.evaluation.at_start) * cost.evaluation
        + (states + bests) * cost.checkpoint
        + tests * cost.test
    )


def _fixed_share(steps: Steps, size: int) -> float:
    """The share of an update's time that does not grow with its batch, from batches of `size` and a quarter of it."""
    if size < 4 or steps.setup.settings.strategy.compile:  # each size would be compiled
        return 0.0
    whole = _best_of(steps, size)
    try:
        quarter = _best_of(steps, size // 4)
    except (RuntimeError, ValueError):  # a model that so small a batch does not suit
        return 0.0
    slope = (whole - quarter) / (size - size // 4)
    return min(1.0, max(0.0, 1 - slope * size / whole))


def _best_of(steps: Steps, size: int) -> float:
    """Seconds of an update, the fastest of three stretches: other work on the machine only ever adds."""
    count, _ = steps.count_for(size, SHORT_SECONDS / 3)
    return min(steps.seconds(size, count) for _ in range(3)) / count


def _piece(run: RunSpec, count: int, size: int) -> RunSpec:
    """A run of `count` updates with one evaluation on either part and one checkpoint."""
    settings = run.settings
    changes = {
        "optimizer": settings.optimizer.at_rate(still_rate(settings)),
        "strategy": settings.strategy.model_copy(update={"early_stopping": None, "batch_size": size}),
        "evaluation": settings.evaluation.model_copy(
            update={"every": Every(steps=count), "at_start": False, "target": None}
        ),
        "budget": Budget(steps=count),
        "checkpoint": CheckpointSpec(),
    }
    return replace(run, settings=settings.model_copy(update=changes), trial=None, track=())


def _timed(piece: RunSpec, cache: DataCache) -> tuple[float, dict[str, Any]]:
    """Wall seconds of a run in a folder of its own, and its summary."""
    with tempfile.TemporaryDirectory(prefix="nnopt-") as folder:
        start = time.perf_counter()
        record = run_one(piece, Workshop(Path(folder), cache, Listener(), StopRequest()))
        wall = time.perf_counter() - start
    if record.status != "done":
        raise TrainingError(f"{piece.variant} cannot be timed: {record.summary.get('reason')}")
    return wall, record.summary


def _length(settings: RunSettings, cost: Cost) -> tuple[float, float]:
    """Updates and samples of the whole budget, a growing batch followed through its sizes."""
    budget, steps, samples = settings.budget, 0.0, 0.0
    for share, size in _sizes(settings, cost):
        an_epoch = math.ceil(cost.samples / size)
        mean = cost.samples / an_epoch  # the last batch of an epoch is smaller
        if budget.steps:
            here = budget.steps * share
        elif budget.epochs:
            here = budget.epochs * share * an_epoch
        else:
            here = (budget.seconds or 0.0) * share / (cost.update + mean * cost.sample)
        steps += here
        samples += here * mean
    return steps, samples


def _sizes(settings: RunSettings, cost: Cost) -> list[tuple[float, int]]:
    """Sizes of the batch one after the other, with the share of the budget that each lasts."""
    size = settings.strategy.batch_size
    if not isinstance(size, GrowingBatch):
        return [(1.0, cost.samples if size == "full" else int(size))]
    starts = [0.0, *size.at]
    return [
        (end - start, min(size.size(start), cost.samples)) for start, end in zip(starts, [*size.at, 1.0], strict=True)
    ]


def _times(every: Every, steps: float, samples: float, seconds: float, cost: Cost) -> int:
    """How often something that comes every so often, and at the end, happens: at most once an update."""
    if every.steps:
        periods = steps / every.steps
    elif every.epochs:
        periods = samples / (every.epochs * cost.samples)
    else:
        periods = seconds / (every.seconds or math.inf)
    return max(1, math.ceil(min(periods, steps) - 1e-9))
