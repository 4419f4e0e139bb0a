"""Conditions on a change that a build can fail on: held, broken, or undecided.

`val_accuracy >= -0.2pp`     at most 0.2 percentage points below the baseline
`val_loss <= +2%`            at most 2 per cent above the baseline
`val_loss <= +0.01`          at most 0.01 above, in the measure's own unit
`seconds_to_target <= +5%`   a time to target, in per cent

A gate is held where the 95 % interval of the difference lies on the allowed side of the limit, broken where it lies
on the other side, and undecided where it holds the limit: each error then has a chance of at most 2.5 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nnopt.compare.comparison import Comparison
from nnopt.compare.groups import Group
from nnopt.compare.lint.machines import time_across_machines
from nnopt.compare.measures import Measure, find_measure
from nnopt.compare.sentences import AXES, is_beyond, show_n
from nnopt.compare.statistics.difference import SAME_BITS, Difference, Interval, ratio
from nnopt.compare.statistics.proportion import fisher_more
from nnopt.compare.target import TimeToTarget
from nnopt.compare.verdict import ALPHA, Verdict, compared, dependence
from nnopt.errors import GateError, UsageError

_GATE = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.-]*)\s*(?P<sense><=|>=|=<|=>|<|>|==|=)?\s*"
    r"(?P<amount>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)?\s*(?P<unit>pp|%|[A-Za-z]+)?\s*"
)
EXAMPLES = "write it as 'val_accuracy >= -0.2pp', 'val_loss <= +2%' or 'seconds_to_target <= +5%'"
TO_TARGET = "_to_target"


@dataclass(frozen=True)
class Gate:
    """`name` of the candidate may lie above (`at_most`) or below the baseline by no more than `limit`.

    `unit` is "pp" (percentage points), "%" (of the baseline), or "" (the measure's own).
    """

    text: str
    name: str
    at_most: bool
    limit: float
    unit: str

    @property
    def axis(self) -> str | None:
        """The axis of a time to target, None for other measures."""
        return self.name.removesuffix(TO_TARGET) if self.name.endswith(TO_TARGET) else None


@dataclass(frozen=True)
class GateResult:
    """`state` is "held", "broken" or "undecided"; `sentence` says by how much."""

    text: str
    label: str
    baseline: str
    state: str
    sentence: str


def parse_gate(text: str) -> Gate:
    """The gate that `text` says.

    Raises:
        UsageError: it cannot be read, or would not mean what it seems to.
    """
    match = _GATE.fullmatch(text)
    if match is None or match["sense"] is None or match["amount"] is None:
        raise UsageError(f"the gate '{text}' cannot be read: {EXAMPLES}")
    name, sense, amount, unit = match["name"], match["sense"], match["amount"], match["unit"] or ""
    if sense not in ("<=", ">="):
        raise UsageError(f"the gate '{text}' has {sense} where <= or >= belongs: {EXAMPLES}")
    if unit not in ("", "pp", "%"):
        raise UsageError(f"the gate '{text}' has the unit '{unit}': take pp (percentage points), % or none")
    if amount[0] not in "+-" and float(amount) != 0:
        raise UsageError(
            f"the gate '{text}' needs a sign: {sense} +{amount}{unit} or {sense} -{amount}{unit}, "
            "as it limits the difference from the baseline"
        )
    if math.isinf(float(amount)):
        raise UsageError(f"the gate '{text}' has no finite limit: {EXAMPLES}")
    gate = Gate(" ".join(text.split()), name, sense == "<=", float(amount), unit)
    if gate.axis is not None and gate.axis not in AXES:
        raise UsageError(f"the gate '{text}' knows {', '.join(f'{axis}{TO_TARGET}' for axis in AXES)}")
    if gate.axis is not None and unit != "%":
        raise UsageError(f"the gate '{text}' is on a time, which is compared by its ratio: write the limit in %")
    if unit == "%" and gate.limit <= -100:
        raise UsageError(f"the gate '{text}' asks for less than nothing: per cent of the baseline lie above -100")
    return gate


def check_gates(comparison: Comparison, gates: Sequence[Gate], force: bool = False) -> list[GateResult]:
    """Each gate for each variant that has a baseline.

    Raises:
        UsageError: a measure that no run has, percentage points of what is no share, a time over different
            machines without `force`, or nothing to hold a gate against.
    """
    records = [record for group in comparison.groups for record in group.records]
    groups = {group.label: group for group in comparison.groups}
    pairs = [(groups[verdict.label], groups[verdict.baseline]) for verdict in comparison.verdicts]
    times = {row.label: row.to_target for row in comparison.rows}
    if gates and not pairs:
        raise UsageError("a gate holds a variant against a baseline: name runs of both, the baseline first")
    results = []
    for gate in gates:
        unfair = time_across_machines(comparison.groups, gate.name)
        if unfair and not force:
            raise UsageError(f"the gate '{gate.text}': {unfair.text} {unfair.advice}")
        if gate.axis is not None:
            results += [
                _time_gate(gate, group, other, verdict, times)
                for (group, other), verdict in zip(pairs, comparison.verdicts, strict=True)
            ]
            continue
        measure = find_measure(gate.name, records)
        if gate.unit == "pp" and not measure.is_share:
            raise UsageError(f"the gate '{gate.text}': {gate.name} is no share, so it has no percentage points")
        results += [_measure_gate(gate, measure, group, other) for group, other in pairs]
    return results


def require(results: Sequence[GateResult], strict: bool) -> None:
    """Passes where every gate is held, or undecided without `strict`.

    Raises:
        GateError: one is not.
    """
    refused = [result for result in results if result.state == "broken" or (strict and result.state == "undecided")]
    if refused:
        counts = [f"{count} {state}" for state in ("broken", "undecided") if (count := _count(refused, state))]
        raise GateError(f"{len(refused)} of {len(results)} gates not met ({', '.join(counts)}): {refused[0].sentence}")


def _count(results: Sequence[GateResult], state: str) -> int:
    return sum(result.state == state for result in results)


def _time_gate(
    gate: Gate, group: Group, other: Group, verdict: Verdict, times: Mapping[str, TimeToTarget | None]
) -> GateResult:
    one, two, axis = times[group.label], times[other.label], gate.axis or ""
    if one is None or two is None:
        return _result(gate, group, other, "undecided", "there is no target: --target VALUE sets one")
    if one.target != two.target:
        return _result(gate, group, other, "undecided", "the targets differ: --target VALUE measures both by one")
    found = verdict.times.get(axis)
    if found is None:
        return _result(gate, group, other, "undecided", f"the runs have no count of {AXES[axis]}")
    counts = f"{found.reached[0]} of {found.n[0]} and {found.reached[1]} of {found.n[1]} runs got there"
    if found.reached[0] == found.n[0] and found.reached[1] == found.n[1]:
        counts = f"n = {found.n[0]}" if found.n[0] == found.n[1] else f"n = {found.n[0]} and {found.n[1]}"
    if found.method == SAME_BITS:
        counts = f"the same bits in all {found.n[0]} pairs of runs"
    if found.interval is None:
        few = _few(found.n, counts)
        return _result(gate, group, other, *_by_losses(gate, _missed(found.n, found.reached), few, "missed the target"))
    shown = "" if found.ratio is None else f"{_per_cent(found.ratio)} "
    return _result(
        gate,
        group,
        other,
        _state(gate, Interval(_less_one(found.interval.low), _less_one(found.interval.high)), 0.01),
        f"{shown}({_per_cent(found.interval.low)} to {_per_cent(found.interval.high)}, {counts})",
    )


def _measure_gate(gate: Gate, measure: Measure, group: Group, other: Group) -> GateResult:
    a, b = measure.sample(group), measure.sample(other)
    if not a or not b:
        which = group.label if not a else other.label
        return _result(gate, group, other, "undecided", f"no run of {which} has ended with a {measure.name}")
    if gate.unit == "%" and min(*a.values(), *b.values()) <= 0:
        return _result(gate, group, other, "undecided", f"per cent need values of {measure.name} above 0: use points")
    found = compared(group, other, measure)
    if gate.unit == "%" and found.method != SAME_BITS:
        found = ratio(a, b, measure.step, dependence(group, other, measure))
    if found.interval is None:
        a_lost, b_lost = found.lost
        few = _few(found.n, show_n(found))
        worse = measure.higher_is_better != gate.at_most  # the gate limits how much worse it may get
        lost = ((a_lost, found.n[0]), (b_lost, found.n[1]))
        return _result(gate, group, other, *(_by_losses(gate, lost, few, "diverged") if worse else ("undecided", few)))
    return _result(gate, group, other, *_held_by(gate, found, measure))


def _held_by(gate: Gate, found: Difference, measure: Measure) -> tuple[str, str]:
    assert found.interval is not None
    interval, estimate = found.interval, found.estimate
    if found.method == SAME_BITS:
        return _state(gate, interval, 1.0), f"the same bits in all {found.n[0]} pairs of runs"
    lost = "".join(
        f"; {count} of {runs} runs of {name} diverged"
        for count, runs, name in zip(found.lost, found.n, ("the candidate", "the baseline"), strict=True)
        if count
    )
    if found.is_ratio:
        shown = "" if estimate is None else f"{_per_cent(estimate)} "
        change = Interval(_less_one(interval.low), _less_one(interval.high))
        return _state(gate, change, 0.01), f"{shown}({_ends(interval, _per_cent)}{show_n(found)}){lost}"
    scale, unit = (100.0, "pp") if measure.is_share else (1.0, "")
    ends = _ends(Interval(scale * interval.low, scale * interval.high), _amount)
    shown = "" if estimate is None else f"{_amount(scale * estimate)}{unit} "
    return _state(gate, interval, 0.01 if gate.unit == "pp" else 1.0), f"{shown}({ends}{show_n(found)}){lost}"


def _ends(interval: Interval, show: Callable[[float], str]) -> str:
    """`-0.3 to +0.1, `; nothing where diverged runs put both ends beyond every number."""
    return "" if is_beyond(interval) else f"{show(interval.low)} to {show(interval.high)}, "


def _state(gate: Gate, change: Interval, unit: float) -> str:
    """Where the interval of the change lies with regard to the limit (`unit` is what the limit counts in)."""
    limit = gate.limit * unit
    low, high = (change.low, change.high) if gate.at_most else (-change.high, -change.low)
    limit = limit if gate.at_most else -limit
    return "held" if high <= limit else "broken" if low > limit else "undecided"


def _by_losses(gate: Gate, lost: tuple[tuple[int, int], tuple[int, int]], few: str, what: str) -> tuple[str, str]:
    """Where no interval can be had: broken if so many more losses than the baseline's are no accident."""
    (a, runs_a), (b, runs_b) = lost
    if a and min(runs_a, runs_b) > 1 and fisher_more(a, runs_a, b, runs_b) <= ALPHA + 1e-9:
        return "broken", f"{a} of {runs_a} runs {what}, against {b} of {runs_b} of the baseline's"
    counts = f"; {a} of {runs_a} runs {what}, against {b} of {runs_b}" if a or b else ""
    return "undecided", few + counts


def _missed(n: tuple[int, int], reached: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    return (n[0] - reached[0], n[0]), (n[1] - reached[1], n[1])


def _few(n: tuple[int, int], counts: str) -> str:
    if min(n) < 3:
        return f"{counts}: an anecdote decides nothing, train at least 3 seeds of each"
    return f"{counts} allows no interval: train more seeds"


def _result(gate: Gate, group: Group, other: Group, state: str, why: str) -> GateResult:
    return GateResult(
        gate.text, group.label, other.label, state, f"{state}: {group.label} against {other.label}, {gate.text}: {why}"
    )


def _less_one(factor: float) -> float:
    return factor - 1.0


def _per_cent(factor: float) -> str:
    if math.isinf(factor):
        return "no bound"
    return f"{100 * (factor - 1):+.3g}%"


def _amount(value: float) -> str:
    return "no bound" if math.isinf(value) else f"{value:+.3g}"
