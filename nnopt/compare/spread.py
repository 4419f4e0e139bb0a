"""A mean and how far the runs lie from it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A mean over n runs, with their sample standard deviation (n - 1): None for a single run."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Over the values that are there; None where none is."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


def mean(values: Iterable[float | None]) -> float | None:
    """Over the values that are there; None where none is."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
