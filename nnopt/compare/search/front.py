"""The Pareto front of a search with two objectives, and which of its members are confirmed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnopt.compare.search.trial import Trial
from nnopt.compare.statistics.pareto import pareto_front


def front_of(trials: Sequence[Trial], higher_is_better: bool) -> tuple[Trial, ...]:
    """The trials that no other beats in value and cost at once, from the cheapest to the best; of equal ones the first.

    A trial without a value or a cost is none of them.
    """
    known = [trial for trial in trials if trial.value is not None and trial.cost is not None]
    values = [trial.value for trial in known if trial.value is not None]
    found: dict[tuple[float | None, float | None], Trial] = {}
    for place in pareto_front(values, [trial.cost for trial in known], higher_is_better):
        found.setdefault((known[place].cost, known[place].value), known[place])
    return tuple(found.values())


def spread_out(front: Sequence[Trial], most: int) -> tuple[Trial, ...]:
    """At most so many members of a front, far apart by the factor between their costs, from the cheapest on.

    The best is always among them, then the cheapest; each further one is the one that is farthest from those.
    """
    if len(front) <= most:
        return tuple(front)
    places = [math.log(trial.cost) if trial.cost and trial.cost > 0 else 0.0 for trial in front]
    chosen = [len(front) - 1, 0][:most]
    while len(chosen) < most:
        left = [index for index in range(len(front)) if index not in chosen]
        chosen.append(max(left, key=lambda index: min(abs(places[index] - places[one]) for one in chosen)))
    return tuple(front[index] for index in sorted(chosen))
