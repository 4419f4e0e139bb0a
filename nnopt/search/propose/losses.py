"""Trials put in order for samplers that learn: one number each, the lower the better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnopt.compare.search.trial import Trial


def losses(known: Sequence[Trial], higher_is_better: bool) -> list[float]:
    """A loss for each trial; one without a value is worse than all that have one, by its status.

    Pruned trials follow those that are done, then come diverged ones, then failed ones.
    """
    sign = -1.0 if higher_is_better else 1.0
    done = [sign * trial.value for trial in known if trial.value is not None and math.isfinite(trial.value)]
    worst = max(done, default=0.0)
    step = max(abs(worst), 1.0)
    behind = {"pruned": step, "failed": 3 * step}
    return [
        sign * trial.value
        if trial.value is not None and math.isfinite(trial.value)
        else worst + behind.get(trial.status, 2 * step)
        for trial in known
    ]
