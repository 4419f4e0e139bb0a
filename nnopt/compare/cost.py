"""Quality against what it costs, with the variants that nothing beats in both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nnopt.compare.rows import Row
from nnopt.compare.spread import Spread
from nnopt.compare.statistics.pareto import pareto_front

ALIKE = 0.01
# What a row may cost. Seconds, joules and sizes are means over its runs, memory is the largest.
COSTS = (
    *("train_seconds", "memory_peak_bytes", "parameters", "nonzero_parameters", "network_bytes", "multiply_adds"),
    *("latency_seconds", "batch_latency_seconds", "energy_joules"),
)
ALWAYS_SHOWN = ("train_seconds", "memory_peak_bytes", "parameters", "energy_joules")
# How long a network's answers take: of two networks of one shape the difference is chance.
LATENCIES = ("latency_seconds", "batch_latency_seconds")
SHAPE = ("parameters", "network_bytes", "multiply_adds")
LATENCY_ALIKE = 0.1
# Costs that say the same as the parameters, unless they are another share of them in some variant.
SHARES_OF_PARAMETERS = ("nonzero_parameters", "network_bytes")
SHARE_ALIKE = 0.1
HEADER_BYTES = 3000  # names and headers in the file of a network of some layers, whatever its weights

Costs = Mapping[str, float]


@dataclass(frozen=True)
class CostPoint:
    """One variant: its quality, and what it costs as far as that was recorded.

    `front` names the costs on whose Pareto set it lies, within its `task`. A variant of which runs `diverged` is on
    none: its mean is over the others alone. A cost that does not tell the variants apart has no front.
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
        spent = [_costs_of(row) for row in sound]
        for cost in COSTS:
            if cost in without_fronts or not tells_apart(cost, spent):
                continue
            compared = _of_each_shape(cost, spent) if cost in LATENCIES else [one.get(cost) for one in spent]
            for index in pareto_front(qualities, compared, higher):
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


def shown_costs(rows: Sequence[Row]) -> tuple[str, ...]:
    """The costs worth showing: those of training and the parameters, others where they tell rows of a task apart."""
    tasks = [[_costs_of(row) for row in rows if row.task == task] for task in dict.fromkeys(row.task for row in rows)]
    known = {cost for spent in tasks for one in spent for cost in one}
    return tuple(
        cost
        for cost in COSTS
        if cost in known and (cost in ALWAYS_SHOWN or any(tells_apart(cost, spent) for spent in tasks))
    )


def tells_apart(cost: str, spent: Sequence[Costs]) -> bool:
    """Whether a cost differs between variants, and says more than their parameters do.

    It differs where it does by more than a hundredth: peak memory of one program differs a little by its order.
    Latencies must differ by more than a tenth, and between networks of different shapes.
    """
    if cost in LATENCIES:
        return _differs(cost, spent, LATENCY_ALIKE) and any(_differs(size, spent, ALIKE) for size in SHAPE)
    return _differs(cost, spent, ALIKE) and (cost not in SHARES_OF_PARAMETERS or _is_another_share(cost, spent))


def _differs(cost: str, spent: Sequence[Costs], alike: float) -> bool:
    known = [one[cost] for one in spent if cost in one]
    return len(known) > 1 and max(known) > (1 + alike) * min(known)


def _is_another_share(cost: str, spent: Sequence[Costs]) -> bool:
    """Whether it differs by more than a tenth what a parameter costs, the headers of a file left out of account."""
    headers = HEADER_BYTES if cost == "network_bytes" else 0
    known = [(one[cost], one["parameters"]) for one in spent if cost in one and one.get("parameters")]
    dearest = max(((value - headers) / count for value, count in known), default=0.0)
    cheapest = min((value / count for value, count in known), default=0.0)
    return dearest > (1 + SHARE_ALIKE) * cheapest


def _of_each_shape(cost: str, spent: Sequence[Costs]) -> list[float | None]:
    """A latency of each variant: where several have networks of one shape, their mean."""
    shapes = [tuple(one.get(size) for size in SHAPE) for one in spent]
    known: dict[tuple[float | None, ...], list[float]] = {}
    for shape, one in zip(shapes, spent, strict=True):
        if cost in one:
            known.setdefault(shape, []).append(one[cost])
    return [
        sum(known[shape]) / len(known[shape]) if cost in one else None for shape, one in zip(shapes, spent, strict=True)
    ]


def _costs_of(row: Row) -> dict[str, float]:
    known: Mapping[str, float | None] = {cost: getattr(row, cost) for cost in COSTS}
    return {cost: float(value) for cost, value in known.items() if value is not None}
