"""The Pareto set: what nothing else beats in quality and cost at once."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(qualities: Sequence[float], costs: Sequence[float | None], higher: bool) -> list[int]:
    """Indices of the points that no other dominates, from the cheapest to the dearest.

    A point dominates another where it is at least as good and at most as dear, and better or cheaper. Equal points
    stay together. A point without a cost is left out.
    """
    sign = 1.0 if higher else -1.0
    known = [
        (cost, -sign * quality, index)
        for index, (quality, cost) in enumerate(zip(qualities, costs, strict=True))
        if cost is not None
    ]
    front: list[int] = []
    best: tuple[float, float] | None = None
    for cost, badness, index in sorted(known):
        if best is None or badness < best[1] or (cost, badness) == best:
            front.append(index)
            best = (cost, badness)
    return front
