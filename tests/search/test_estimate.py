"""How long runs would take: arithmetic against a run's own counts, and a measured piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnopt import load
from nnopt.data.batches import Order, Position
from nnopt.errors import UsageError
from nnopt.plan import Plan, RunSpec
from nnopt.search.estimate import Cost, measure, seconds_of
from nnopt.spec.strategy import GrowingBatch
from nnopt.spec.timing import Budget, Every
from nnopt.store.record import RunRecord
from nnopt.train.devices import find_device
from nnopt.train.horizon import Horizon, Period
from nnopt.train.listener import Listener
from nnopt.train.runner import Workshop, run_one
from nnopt.train.setup import DataCache
from nnopt.train.signals import StopRequest

WriteSpec = Callable[..., Path]

NOTHING = Cost(setup=0, update=0, sample=0, evaluation=0, test=0, checkpoint=0, samples=100)


def run_of(path: Path, budget: Budget, strategy: dict[str, Any] | None = None, **changes: Any) -> RunSpec:
    """A trial of the small spec with these settings."""
    run = Plan.of(load(path)).runs[0]
    settings = run.settings.model_copy(
        update={
            "budget": budget,
            "strategy": run.settings.strategy.model_copy(update=strategy or {}),
            "evaluation": run.settings.evaluation.model_copy(update={"every": changes.get("every", Every(epochs=1))}),
        }
    )
    return replace(run, settings=settings, trial=0)


def counted(run: RunSpec, samples: int) -> tuple[int, int, int]:
    """Updates, samples and evaluations of a run that trains nothing: the loop's own pieces, one by one."""
    horizon = Horizon(run.settings.budget, run.settings.strategy, samples)
    period = Period(run.settings.evaluation.every, samples)
    order, position = Order(0, samples, find_device("cpu")), Position()
    step, taken, evaluations, before = 0, 0, 0, 0
    while not horizon.used_up(step, taken, 0.0):
        rows = order.take(position, horizon.batch_size(horizon.shares(step, taken, 0.0)[0]))
        step, taken = step + 1, taken + (samples if rows is None else len(rows))
        passed = period.passed(step, taken, 0.0)
        evaluations += passed > before or horizon.used_up(step, taken, 0.0)
        before = passed
    return step, taken, evaluations


BUDGETS = st.one_of(
    st.builds(lambda epochs: Budget(epochs=epochs), st.integers(1, 8)),
    st.builds(lambda steps: Budget(steps=steps), st.integers(1, 200)),
)
PERIODS = st.one_of(
    st.builds(lambda epochs: Every(epochs=epochs), st.integers(1, 4)),
    st.builds(lambda steps: Every(steps=steps), st.integers(1, 50)),
)


@given(BUDGETS, PERIODS, st.integers(1, 100) | st.just("full"))
def test_constant_batches_are_counted_as_the_loop_counts(
    small: Path, budget: Budget, every: Every, size: int | str
) -> None:
    run = run_of(small, budget, {"batch_size": size}, every=every)
    steps, samples, evaluations = counted(run, 100)
    assert seconds_of(run, replace(NOTHING, update=1)) == pytest.approx(steps)
    assert seconds_of(run, replace(NOTHING, sample=1)) == pytest.approx(samples, abs=100)  # within an epoch
    # Where the last evaluation of an epoch falls into its middle, the estimate may be one off.
    assert seconds_of(run, replace(NOTHING, evaluation=1)) == pytest.approx(evaluations, abs=1)


@given(st.integers(2, 30), st.integers(1, 50), st.floats(1.1, 4))
def test_growing_batches_are_counted_nearly_so(small: Path, epochs: int, start: int, factor: float) -> None:
    """A batch that grows within an epoch leaves another ragged end than one that was so large from the start."""
    batch = GrowingBatch(start=start, factor=factor, at=(0.3, 0.6))
    run = run_of(small, Budget(epochs=epochs), {"batch_size": batch})
    steps, samples, _ = counted(run, 100)
    assert seconds_of(run, replace(NOTHING, update=1)) == pytest.approx(steps, rel=0.1, abs=3 + math.ceil(100 / start))
    assert seconds_of(run, replace(NOTHING, sample=1)) == pytest.approx(samples)


def test_a_budget_of_seconds_trains_for_so_long(small: Path) -> None:
    run = run_of(small, Budget(seconds=7.0), every=Every(seconds=2.0))
    cost = replace(NOTHING, update=0.01, sample=0.001)
    assert seconds_of(run, cost) == pytest.approx(7.0)
    assert seconds_of(run, replace(cost, evaluation=1.0)) == pytest.approx(7.0 + 4)


def test_tests_and_checkpoints_are_counted_where_there_are_some(small: Path) -> None:
    run = run_of(small, Budget(epochs=3))
    assert seconds_of(run, replace(NOTHING, setup=5.0)) == 5.0
    assert seconds_of(run, replace(NOTHING, test=1.0)) == 0.0  # a trial reads no test data
    assert seconds_of(replace(run, trial=None), replace(NOTHING, test=1.0)) == 2.0  # last and best weights
    assert seconds_of(run, replace(NOTHING, checkpoint=1.0)) == 6.0  # the state and the best weights of each epoch
    without = run.settings.checkpoint.model_copy(update={"every": Every(epochs=3), "best": False})
    seldom = replace(run, settings=run.settings.model_copy(update={"checkpoint": without}))
    assert seconds_of(seldom, replace(NOTHING, checkpoint=1.0)) == 1.0


def test_a_measured_piece_tells_of_the_whole(small: Path, tmp_path: Path) -> None:
    """A loose bound, as other work may share the machine: the estimate is of the order of the run's own clock."""
    cache = DataCache()
    run = replace(Plan.of(load(small, ("budget.epochs=40", "optimizer.lr=1000"))).runs[0], trial=None)
    cost = measure(run, cache)
    assert cost.samples == 1222
    assert min(cost.setup, cost.sample + cost.update, cost.evaluation, cost.test, cost.checkpoint) > 0
    calm = Plan.of(load(small, ("budget.epochs=40",))).runs[0]
    record: RunRecord = run_one(calm, Workshop(tmp_path, cache, Listener(), StopRequest()))
    training = record.summary["seconds"]["train"]
    estimate = cost.update * record.summary["steps"] + cost.sample * record.summary["samples"]
    assert training / 10 < estimate < 10 * training


def test_what_does_not_fit_together_is_refused(small: Path) -> None:
    run = Plan.of(load(small, ("strategy.batch_size=5000",))).runs[0]
    with pytest.raises(UsageError, match="5000"):
        measure(run, DataCache())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small spec in a file."""
    import yaml
    from command_line import SMALL

    path = tmp_path_factory.mktemp("estimate") / "spec.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path
