"""What removals of weights and of channels have in common: the layers they reach, when, and the way back."""

from __future__ import annotations

from nnopt.spec.structure.prune import PruneSpec
from nnopt.structure.layers import chosen_layers
from nnopt.train.shaping.operation import Bench, Operation
from nnopt.train.shaping.rewinding import Rewinding

MOST_JUDGED = 10  # removals before and after each of which validation is worth its time


class Removal(Operation):
    """Pruning at the points of a schedule. `amounts` are gone from each of `shares` on; None: early weights are noted.

    Raises:
        UsageError: a pattern of the spec matches no layer.
    """

    name = "prune"

    def __init__(self, spec: PruneSpec, bench: Bench) -> None:
        self.spec, self.bench = spec, bench
        self.chosen = tuple(chosen_layers(bench.model, spec.layers, spec.leave_out, "structure.prune"))
        points = spec.schedule.amounts(spec.share)
        self.amounts: list[float | None] = [amount for _, amount in points]
        shares = [at for at, _ in points]
        self.judged = len(points) <= MOST_JUDGED
        self.rewinding: Rewinding | None = None
        if spec.rewind is not None:
            self.rewinding = Rewinding(spec.rewind, shares, bench)
            self.amounts.insert(0, None)
            shares.insert(0, spec.rewind.to)
            self.quiet = frozenset({0})
        self.shares = tuple(shares)

    def rate_shares(self, before: float, after: float) -> tuple[float, float]:
        """As the base class says."""
        return (before, after) if self.rewinding is None else self.rewinding.rate_shares(before, after)
