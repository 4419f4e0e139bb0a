"""How fast a metric still moves when a run ends: what more steps would have brought."""

from __future__ import annotations

import math

import numpy as np

from nnopt.compare.series import series
from nnopt.store.record import RunRecord

LAST_SHARE = 5  # a fifth of the evaluations
FEWEST = 3
PER_STEPS = 100


def end_rate(record: RunRecord, metric: str) -> float | None:
    """The change of `metric` per hundred steps near the run's end.

    The slope of the least-squares line through the last fifth of the run's evaluations, through three at least:
    None where the run has fewer values, or all at one step.

    Raises:
        RunsFolderError: a metrics.csv that is damaged.
    """
    curve = series(record, metric)
    count = max(FEWEST, math.ceil(len(curve.values) / LAST_SHARE))
    if len(curve.values) < count:
        return None
    steps, values = np.asarray(curve.steps[-count:]), np.asarray(curve.values[-count:])
    steps = steps - steps.mean()
    squares = float(steps @ steps)
    return PER_STEPS * float(steps @ (values - values.mean())) / squares if squares > 0 else None


def exchange(difference: float, rate: float) -> float | None:
    """How many steps a change of the metric is worth: those in which `rate`, per hundred steps, brings it about.

    `difference` is the change to be made up: the value of the run ahead minus that of the run behind, whose rate
    it is. None where the rate is zero or leads away from it.
    """
    steps = PER_STEPS * difference / rate if rate else math.inf
    return abs(steps) if math.isfinite(steps) and steps >= 0 else None
