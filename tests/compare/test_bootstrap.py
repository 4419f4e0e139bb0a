"""The interquartile mean and its stratified bootstrap: against scipy, a slow twin, and drawn experiments."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.compare.statistics.bootstrap import interquartile_mean, iqm_interval


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_interquartile_mean_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert float(interquartile_mean(values)) == pytest.approx(scipy.stats.trim_mean(values, 0.25), abs=1e-6)


def test_it_is_taken_along_the_last_axis() -> None:
    table = np.random.default_rng(1).normal(size=(7, 3, 11))
    assert interquartile_mean(table) == pytest.approx(scipy.stats.trim_mean(table, 0.25, axis=-1))


def test_the_interval_is_that_of_a_loop_over_resamples() -> None:
    tasks = [[0.1, 0.5, 0.2, 0.9], [0.7, 0.6, 0.8]]
    random = np.random.default_rng(0)
    drawn = [random.integers(len(task), size=(500, len(task) - 1)) for task in tasks]
    means = []
    for resample in range(500):
        runs = [task[run] for task, places in zip(tasks, drawn, strict=True) for run in places[resample]]
        means.append(scipy.stats.trim_mean(runs, 0.25))
    found = iqm_interval(tasks, resamples=500)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    assert found == iqm_interval(tasks, resamples=500)


def test_fewer_than_three_runs_in_a_task_give_no_interval() -> None:
    assert iqm_interval([[0.1, 0.2, 0.3], [0.5, 0.6]]) is None
    assert iqm_interval([]) is None


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=6), min_size=1, max_size=5))
def test_the_interval_stays_within_the_scores(tasks: list[list[float]]) -> None:
    found = iqm_interval(tasks, resamples=100)
    assert found is not None
    assert min(map(min, tasks)) - 1e-12 <= found.low <= found.high <= max(map(max, tasks)) + 1e-12


def test_runs_are_drawn_within_their_task_only() -> None:
    """Tasks without spread give an interval without width, however far apart they are."""
    found = iqm_interval([[0.0] * 3, [0.5] * 3, [1.0] * 3])
    assert found is not None
    assert found.low == found.high


def coverage(tasks: int, runs: int, repeats: int = 1500) -> float:
    """Share of drawn experiments whose interval holds the interquartile mean of the population."""
    random = np.random.default_rng(11)
    middles = np.linspace(0, 1, tasks)[:, None]
    truth = float(interquartile_mean((middles + random.normal(size=(tasks, 200_000))).ravel()))
    held = 0
    for scores in middles + random.normal(size=(repeats, tasks, runs)):
        found = iqm_interval(scores.tolist(), resamples=300)
        assert found is not None
        held += found.low <= truth <= found.high
    return held / repeats


@pytest.mark.parametrize(("tasks", "runs", "least"), [(5, 3, 0.90), (5, 10, 0.925)])
def test_intervals_cover_about_what_they_say(tasks: int, runs: int, least: float) -> None:
    """Few runs fall short of 95 %, by as much as the notes and docs say; two Monte Carlo errors are 1.4 points."""
    assert least - 0.014 <= coverage(tasks, runs) <= 0.96
