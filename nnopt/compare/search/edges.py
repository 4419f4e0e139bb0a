"""Bests at the edge of what was searched: better values may lie beyond."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnopt.compare.ranges import End, end_of_range, wider_range
from nnopt.compare.search.trial import Trial
from nnopt.spec.search.domains import Choice, Domain, IntRange, NumberDomain

# How good a setting is, or that it is not allowed; one whose worker failed shows nothing.
SHOWS = ("done", "pruned", "diverged", "over")
FEWEST_VALUES = 3  # of two one is always the largest
EXTREMES: dict[End, str] = {"lower": "smaller", "upper": "larger"}


@dataclass(frozen=True)
class Edge:
    """A best value at an end of its range.

    `low` to `high` is the wider range to search; `added` is its part beyond that end, of whole numbers only new ones
    unless that is but one. `is_outermost`: not within 1 % of the end, but nothing was tried farther out.
    """

    key: str
    value: float
    end: End
    searched: tuple[float, float]
    low: float
    high: float
    added: tuple[float, float]
    is_outermost: bool = False

    def sentence(self, variant: str) -> str:
        """`the best optimizer.lr of adam, 0.0871, lies at the upper end of 1e-05 to 0.1: ...`."""
        (low, high), (more, most) = self.searched, self.added
        where = f"lies at the {self.end} end of {low:g} to {high:g}"
        if self.is_outermost:
            where += f" (none {EXTREMES[self.end]} was tried)"
        return (
            f"the best {self.key} of {variant}, {self.value:g}, {where}: better values may lie beyond; "
            f"`--extend` searches {more:g} to {most:g} too"
        )


def find_edges(
    best: Trial, space: Mapping[str, Domain], settings: Mapping[str, Any], trials: Sequence[Trial] = ()
) -> tuple[Edge, ...]:
    """The keys whose best value lies at an end of their range, where the key takes more beyond.

    At an end: within 1 % of the range's width, or no one of the finished `trials` lies farther out, so that none shows
    where it gets worse. `settings` are the spec's keys of that trial: its kinds tell which values a key takes at all.
    """
    found = []
    for key, domain in space.items():
        value = best.setting.get(key)
        if not isinstance(domain, NumberDomain) or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        searched = (domain.low, domain.high)
        near = end_of_range(value, *searched, domain.is_log)
        end = near or _outermost(key, value, trials)
        wider = wider_range(settings, key, searched, end, domain.is_log) if end else None
        if isinstance(domain, IntRange) and wider is not None:
            wider = _whole(searched, wider)
        if end is not None and wider is not None:
            found.append(Edge(key, float(value), end, searched, *wider, _added(domain, end, wider), near is None))
    return tuple(found)


def _outermost(key: str, value: float, trials: Sequence[Trial]) -> End | None:
    """The end beyond which nothing was tried."""
    tried = {trial.setting[key] for trial in trials if trial.status in SHOWS and key in trial.setting}
    if len(tried) < FEWEST_VALUES:
        return None
    return "upper" if value >= max(tried) else "lower" if value <= min(tried) else None


def _whole(searched: tuple[float, float], wider: tuple[float, float]) -> tuple[float, float] | None:
    """The whole numbers of a wider range, None where it has no new one; what counts from 1 goes no lower."""
    low, high = float(math.ceil(wider[0])), float(math.floor(wider[1]))
    if searched[0] >= 1:
        low = max(low, 1.0)
    return (low, high) if (low, high) != searched else None


def _added(domain: NumberDomain, end: End, wider: tuple[float, float]) -> tuple[float, float]:
    """The part of the wider range beyond the old end; of whole numbers those that are new, if there are two."""
    low, high = (wider[0], domain.low) if end == "lower" else (domain.high, wider[1])
    if isinstance(domain, IntRange) and high - low > 1:
        return (low, high - 1) if end == "lower" else (low + 1, high)
    return low, high


def ends_of_choices(best: Trial, space: Mapping[str, Domain], variant: str) -> list[str]:
    """A sentence on each key that has numbers to choose from, and whose best is the smallest or largest of them."""
    said = []
    for key, domain in space.items():
        values = domain.choice if isinstance(domain, Choice) else ()
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        value = best.setting.get(key)
        if len(numbers) == len(values) > 2 and value in (min(numbers), max(numbers)):
            which, more = ("largest", "larger") if value == max(numbers) else ("smallest", "smaller")
            said.append(
                f"the best {key} of {variant}, {value:g}, is the {which} of its choices: {more} ones may be better; "
                "add some to `choice`"
            )
    return said
