"""Many comparisons at once: p-values that keep the chance of any false alarm at its level."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected after Holm (1979), in the order given; a None stays None and does not count.

    The smallest of k is multiplied by k, the next by k - 1, and so on; none falls below one before it, or
    exceeds 1.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[place] = highest
    return corrected
