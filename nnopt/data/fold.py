"""Which fold of a cross-validation a run is validated on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fold:
    """Fold `place` of `count`; each block of `count` seeds has another partition of the rows into folds.

    Attributes:
        count: how many folds there are, from 2.
        block: which partition, from 0.
        place: which fold of it, from 0.
    """

    count: int
    block: int
    place: int

    @classmethod
    def of(cls, count: int, seed: int) -> Fold:
        """The fold of the run with this seed."""
        block, place = divmod(seed, count)
        return cls(count, block, place)
