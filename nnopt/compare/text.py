"""Numbers and sentences as the tables show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnopt.compare.spread import Spread

if TYPE_CHECKING:
    from nnopt.compare.comparison import Comparison
    from nnopt.compare.rows import Row

ABSENT = "-"
MOST_NAMES = 3
UNITS = ("B", "kB", "MB", "GB", "TB")


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """`a, b, c and 4 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def show_spread(spread: Spread | None) -> str:
    """`0.9812 ± 0.0010`; the mean alone where there is no spread.

    Four decimals below 10, fewer above; more where the spread would otherwise round to nothing.
    """
    if spread is None:
        return ABSENT
    mean, sd = spread.mean, spread.sd
    size = abs(mean)
    if size and (size < 1e-3 or size >= 1e7):
        return f"{mean:.3e}" if sd is None else f"{mean:.3e} ± {sd:.1e}"
    decimals = 4 if size < 10 else 2 if size < 1000 else 0
    if sd is None:
        return f"{mean:.{decimals}f}"
    if sd > 0:
        decimals = min(max(decimals, -math.floor(math.log10(sd))), 8)
    return f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def show_quantity(value: float | None) -> str:
    """Seconds, steps, a rate: three digits or more, thousands apart."""
    if value is None:
        return ABSENT
    size = abs(value)
    decimals = 0 if size >= 100 or value == round(value) else 1 if size >= 10 else 2
    return f"{value:,.{decimals}f}" if size >= 0.01 or not size else f"{value:.1e}"


def show_milliseconds(seconds: float | None) -> str:
    """Three digits, in milliseconds."""
    return ABSENT if seconds is None else f"{show_digits(1000 * seconds)} ms"


def show_digits(value: float) -> str:
    """Three digits or, of a large number, all before the point."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def show_bytes(value: int | None) -> str:
    """Memory in units of 1000."""
    if value is None:
        return ABSENT
    power = min(int(math.log10(value)) // 3, len(UNITS) - 1) if value > 0 else 0
    scaled = value / 1000**power
    return f"{scaled:.{0 if scaled >= 100 or not power else 1}f} {UNITS[power]}"


def show_value(values: Mapping[str, Any], label: str) -> str:
    """What a spec has under a key, as YAML writes it; a dash where it has no such key."""
    return _yaml(values[label]) if label in values else ABSENT


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def show_runs(row: Row) -> str:
    """`3`, or what became of those that are not done: `1 of 3 diverged, 1 running`."""
    total = len(row.seeds)
    others = [(count, status) for status, count in row.statuses.items() if status != "done"]
    if not others:
        return str(total)
    (count, status), *rest = others
    return ", ".join([f"{count} of {total} {status}", *(f"{count} {status}" for count, status in rest)])


def show_reached(row: Row) -> str:
    """`2 of 3`: how many runs got to the target."""
    return f"{row.to_target.reached} of {row.to_target.runs}" if row.to_target else ABSENT


def best_sentence(comparison: Comparison) -> str:
    """`best: adam, val_accuracy 0.9812 ± 0.0010 (last of 3 seeds)`."""
    best = comparison.best
    if best is None or best.last is None:
        if comparison.across is not None:
            firsts = [f"{row.task}: {row.variant} {show_spread(row.last)}" for row in comparison.rows if row.rank == 1]
            return f"best {comparison.metric}: {'; '.join(firsts)}"
        return f"best: none, because no run that is done has a {comparison.metric}"
    seeds = "1 seed" if best.last.n == 1 else f"{best.last.n} seeds"
    diverged = best.statuses.get("diverged", 0)
    remark = f"; {diverged} of {len(best.seeds)} diverged" if diverged else ""
    of = f"last of {seeds}" if comparison.column == comparison.metric else seeds
    return f"best: {best.label}, {comparison.metric} {show_spread(best.last)} ({of}{remark})"


def said(comparison: Comparison) -> list[str]:
    """The sentences of all verdicts, in the order of the ranking."""
    order = {label: place for place, label in enumerate(comparison.ranking)}
    judged = sorted(comparison.verdicts, key=lambda verdict: order[verdict.label])
    return [text for verdict in judged for text in (verdict.sentence, verdict.time_sentence) if text]


def grouped(remarks: Sequence[tuple[str, str]]) -> list[str]:
    """`a, b: remark` for pairs of a name and a remark."""
    names: dict[str, list[str]] = {}
    for name, remark in remarks:
        names.setdefault(remark, []).append(name)
    return [f"{', '.join(of)}: {remark}" for remark, of in names.items()]
