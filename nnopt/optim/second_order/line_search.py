"""How far to go along a step: back from its full length until the objective has fallen enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Search", "backtracked"]

SHARE = 1e-4  # of the fall that the slope promises, c₁: Nocedal & Wright 2006, section 3.1
LONGEST, SHORTEST = 0.5, 0.1  # what is left of a length after one turn back


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        length: what the step is multiplied by; None: no length was good enough.
        first: the objective at the first length.
    """

    length: float | None
    first: float


def backtracked(
    value: Callable[[float], float], objective: float, slope: float, longest: float, trials: int, slack: float = 0.0
) -> Search:
    """The first length t with f(t) ≤ f(0) + 10⁻⁴·t·f'(0) + slack, from `longest` down.

    After a length that was too long comes the lowest place of the parabola through f(0), f'(0) and f(t), between a
    tenth and a half of t (Nocedal & Wright 2006, sections 3.1 and 3.5); after a value that is not finite, a tenth.

    Args:
        value: f.
        objective: f(0).
        slope: f'(0), below 0.
        longest: the first t.
        trials: the most values to ask for.
        slack: what f is uncertain by.
    """
    length, first = longest, math.nan
    for trial in range(trials):
        reached = value(length)
        if trial == 0:
            first = reached
        if math.isfinite(reached) and reached <= objective + SHARE * length * slope + slack:
            return Search(length, first)
        share = SHORTEST
        if math.isfinite(reached):
            excess = reached - objective - slope * length
            share = -slope * length / (2 * excess) if excess > 0 else LONGEST
        length *= min(max(share, SHORTEST), LONGEST)
    return Search(None, first)
