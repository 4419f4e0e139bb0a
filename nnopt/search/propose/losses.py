"""Trials put in order for samplers that learn: one number each, the lower the better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from nnopt.compare.search.trial import Trial


def losses(known: Sequence[Trial], higher_is_better: bool) -> list[float]:
    """A loss for each trial; one without a value is worse than all that have one, by its status.

    Pruned trials follow those that are done, then come diverged ones, then failed ones, then those beyond a limit,
    the farthest last.
    """
    sign = -1.0 if higher_is_better else 1.0
    done = [sign * trial.value for trial in known if trial.value is not None and math.isfinite(trial.value)]
    worst = max(done, default=0.0)
    step = max(abs(worst), 1.0)
    behind = {"pruned": 1.0, "failed": 3.0}
    return [
        sign * trial.value
        if trial.value is not None and math.isfinite(trial.value)
        else worst + step * (4 + trial.excess if trial.status == "over" else behind.get(trial.status, 2.0))
        for trial in known
    ]


def cost_losses(known: Sequence[Trial]) -> list[float]:
    """The same by the second objective: the logarithm of the cost, so that equal factors count alike.

    A trial without a value of the objective has none here either, however little it costs.
    """
    log = [
        math.log(trial.cost) if trial.value is not None and trial.cost is not None and trial.cost > 0 else None
        for trial in known
    ]
    return losses([replace(trial, value=cost) for trial, cost in zip(known, log, strict=True)], False)
