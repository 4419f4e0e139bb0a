"""Quality against what it costs, with the variants that nothing beats in both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nnopt.compare.rows import Row
from nnopt.compare.spread import Spread
from nnopt.compare.statistics.pareto import pareto_front

ALIKE = 0.01
# What a row may cost. Seconds and joules are means over its runs, memory is the largest.
COSTS = ("train_seconds", "memory_peak_bytes", "parameters", "energy_joules")


@dataclass(frozen=True)
class CostPoint:
    """One variant: its quality, and what it costs as far as that was recorded.

    `front` names the costs on whose Pareto set it lies, within its `task`. A variant of which runs `diverged` is on
    none: its mean is over the others alone. A cost that is the same for all within a hundredth has no front.
    """

    label: str
    quality: Spread
    costs: dict[str, float]
    front: frozenset[str]
    task: str | None = None
    diverged: int = 0


def costs(rows: Sequence[Row], higher: bool, without_fronts: Collection[str] = ()) -> tuple[CostPoint, ...]:
    """The points of all rows with a quality, in their order; more quality is better if `higher`.

    Quality is compared by its mean. Rows of different tasks are never on one front, and the costs in
    `without_fronts` have none.
    """
    rows = [row for row in rows if row.last is not None]
    fronts: dict[str, set[str]] = {row.label: set() for row in rows}
    for task in dict.fromkeys(row.task for row in rows):
        sound = [row for row in rows if row.task == task and not row.statuses.get("diverged")]
        qualities = [row.last.mean for row in sound if row.last is not None]
        for cost in COSTS:
            spent = [_costs_of(row).get(cost) for row in sound]
            if cost in without_fronts or not _tells_apart(spent):
                continue
            for index in pareto_front(qualities, spent, higher):
                fronts[sound[index].label].add(cost)
    return tuple(
        CostPoint(
            label=row.label,
            quality=row.last,
            costs=_costs_of(row),
            front=frozenset(fronts[row.label]),
            task=row.task,
            diverged=row.statuses.get("diverged", 0),
        )
        for row in rows
        if row.last is not None
    )


def _tells_apart(spent: Sequence[float | None]) -> bool:
    """Whether a cost differs by more than a hundredth: peak memory of one program differs a little by its order."""
    known = [value for value in spent if value is not None]
    return len(known) > 1 and max(known) > (1 + ALIKE) * min(known)


def _costs_of(row: Row) -> dict[str, float]:
    known: Mapping[str, float | None] = {cost: getattr(row, cost) for cost in COSTS}
    return {cost: float(value) for cost, value in known.items() if value is not None}
