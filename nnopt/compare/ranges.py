"""Where a value lies in the range it was searched in, and which wider range to search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

NEAR = 0.01  # share of a range within which a value lies at its end
DECADE = 10.0
End = Literal["lower", "upper"]


def is_logarithmic(low: float, high: float) -> bool:
    """Whether a range of which no more is known is looked at in factors: positive and more than a decade wide."""
    return low > 0 and high > DECADE * low


def end_of_range(value: float, low: float, high: float, is_log: bool | None = None) -> End | None:
    """The end from which `value` is within 1 % of the range's width, or beyond which it lies.

    `is_log` says whether the range is one of factors; by default as `is_logarithmic`.
    """
    if is_logarithmic(low, high) if is_log is None else is_log:
        width = math.log(high) - math.log(low)
        place = (math.log(value) - math.log(low)) / width if value > 0 else -math.inf
    else:
        place = (value - low) / (high - low)
    if place <= NEAR:
        return "lower"
    return "upper" if place >= 1 - NEAR else None


def wider_range(
    settings: Mapping[str, Any], key: str, searched: tuple[float, float], end: End, is_log: bool | None = None
) -> tuple[float, float] | None:
    """The range with another decade, or as much again, at one end; None where the key takes no values beyond it.

    `settings` are resolved: their kinds tell which limits the key has.
    """
    from nnopt.spec.limits import limits

    low, high = searched
    bounds = limits(settings, key)
    by_factors = is_logarithmic(low, high) if is_log is None else is_log
    width = high - low
    if end == "lower":
        beyond = bounds.inside(low / DECADE if by_factors else low - width, low)
        return None if beyond >= low else (beyond, high)
    beyond = bounds.inside(high * DECADE if by_factors else high + width, high)
    return None if beyond <= high else (low, beyond)
