"""The interquartile mean of scores over tasks, with a stratified bootstrap.

Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021
(arXiv:2108.13264): runs of all tasks are pooled, a quarter is cut off at either end, and runs are drawn anew
within each task.

One thing is done otherwise: of a task's n runs n - 1 are drawn, not n. Drawing n makes the variance too small by
(n - 1)/n in every task, and more tasks do not heal it (McCarthy and Snowden, The bootstrap and finite population
sampling, Vital and Health Statistics 2-95, 1985; Rao and Wu, JASA 83, 1988). In simulations of 3 to 10 runs in 2 to
10 tasks the interval of 95 % covers 89 to 94 % with normal errors and 81 to 94 % with exponential ones, least with
few tasks far apart; drawing n runs covers 72 to 94 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnopt.compare.statistics.difference import Interval

RESAMPLES = 2000
FEWEST_RUNS = 3
CUT = 0.25


def interquartile_mean(values: ArrayLike) -> NDArray[np.float64]:
    """[..., n] -> [...]: the mean of what is left when n / 4 values, rounded down, are cut off at either end."""
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)
    cut = int(CUT * ordered.shape[-1])
    return np.asarray(ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1))


def iqm_interval(tasks: Sequence[Sequence[float]], resamples: int = RESAMPLES) -> Interval | None:
    """The percentile interval of the interquartile mean; None where a task has fewer than three runs.

    `tasks` holds the scores of one variant's runs, a sequence a task. The same scores give the same interval.
    """
    if not tasks or min(map(len, tasks)) < FEWEST_RUNS:
        return None
    means = interquartile_mean(_resampled(tasks, resamples))
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(low), float(high))


def _resampled(tasks: Sequence[Sequence[float]], resamples: int) -> NDArray[np.float64]:
    """[resamples, runs - tasks]: all but one as many as a task has runs, drawn from them with replacement."""
    random = np.random.default_rng(0)
    drawn = []
    for scores in tasks:
        places = random.integers(len(scores), size=(resamples, len(scores) - 1))
        drawn.append(np.asarray(scores, np.float64)[places])
    return np.concatenate(drawn, axis=1)
