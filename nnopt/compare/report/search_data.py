"""A search as the page's script draws it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nnopt.compare.report.lists import shorten
from nnopt.compare.report.look import look
from nnopt.compare.search.expected import ExpectedBest
from nnopt.compare.search.sensitivity import RatePoint, Sensitivity
from nnopt.compare.search.summary import SearchSummary, VariantSearch
from nnopt.compare.search.trial import Trial
from nnopt.compare.text import show_value
from nnopt.spec.search.domains import Choice, Domain, NumberDomain


def search_data(summary: SearchSummary, variants: Sequence[VariantSearch], lines: Sequence[int]) -> dict[str, Any]:
    """What the charts of one search hold; `lines` are the numbers of the variants' lines."""
    return {
        "metric": summary.metric,
        "higher": summary.higher_is_better,
        "against": summary.against,
        "groups": [
            {
                "label": one.variant,
                **look(line),
                "found": _found(one.expected_best) if one.expected_best else None,
                "rate": _rate(one.sensitivity) if one.sensitivity else None,
                "front": _front(one) if one.front else None,
                "keys": [_key(key, domain) for key, domain in one.space.items()],
                "trials": _trials(one.trials, one.space),
            }
            for one, line in zip(variants, lines, strict=True)
        ],
    }


def _found(best: ExpectedBest) -> dict[str, Any]:
    names = ("trials", "seconds", "expected", "low", "high", "so_far")
    return {name: [shorten(value) for value in getattr(best, name)] for name in names}


def _front(one: VariantSearch) -> dict[str, Any]:
    """Trials and what they cost, and the members of the front; `again` is their mean on fresh seeds."""
    known = [trial for trial in one.trials if trial.value is not None and trial.cost is not None]
    again = [member.estimates[0] if member.confirmed and member.estimates else None for member in one.front]
    return {
        "trials": {
            "number": [trial.number for trial in known],
            "cost": [shorten(trial.cost) for trial in known],
            "value": [shorten(trial.value) for trial in known],
        },
        "members": {
            "number": [member.trial.number for member in one.front],
            "cost": [shorten(member.trial.cost) for member in one.front],
            "value": [shorten(member.trial.value) for member in one.front],
            "name": [member.name for member in one.front],
            "again": [shorten(found.mean) if found else None for found in again],
            "low": [shorten(found.interval.low) if found and found.interval else None for found in again],
            "high": [shorten(found.interval.high) if found and found.interval else None for found in again],
        },
    }


def _rate(found: Sensitivity) -> dict[str, Any]:
    x, y = good_part(found)
    return {
        "sentence": found.sentence(),
        "points": _points(found.points),
        "curve": _points(found.curve),
        "good": {"x": [shorten(rate) for rate in x], "y": [shorten(value) for value in y]},
    }


def _points(points: Sequence[RatePoint]) -> dict[str, Any]:
    return {
        "rate": [shorten(point.rate) for point in points],
        "value": [shorten(point.value) for point in points],
        "trial": [point.trial for point in points],
    }


def good_part(found: Sensitivity) -> tuple[list[float], list[float]]:
    """Rates and values of the line between the ends of the range within 1 % of the best."""
    known = [(point.rate, point.value) for point in found.curve if point.value is not None]
    inside = {rate: value for rate, value in known if found.low <= rate <= found.high}
    ends = {rate: _between(known, rate) for rate in (found.low, found.high)}
    whole = sorted((ends | inside).items())
    return [rate for rate, _ in whole], [value for _, value in whole]


def _between(known: Sequence[tuple[float, float]], rate: float) -> float:
    """The value at a rate on the line, which is straight in the logarithm of the rate."""
    after = next((place for place, (at, _) in enumerate(known) if at >= rate), len(known) - 1)
    (left, low), (right, high) = known[max(after - 1, 0)], known[after]
    share = math.log(rate / left) / math.log(right / left) if right > left else 1.0
    return low + share * (high - low)


def _key(key: str, domain: Domain) -> dict[str, Any]:
    """Name, kind and marks of an axis; a mark is [place, text]."""
    if isinstance(domain, Choice):
        marks = [[_place(domain, value), show_value({"": value}, "")] for value in domain.choice]
    elif isinstance(domain, NumberDomain):
        marks = [[0, f"{domain.low:.6g}"], [1, f"{domain.high:.6g}"]]
    else:
        marks = []
    return {"name": key, "choice": isinstance(domain, Choice), "marks": marks}


def _place(domain: Domain, value: Any) -> float | None:
    """Where a value stands on its axis, in [0, 1]."""
    if isinstance(domain, NumberDomain):
        return shorten(domain.place_of(value))
    assert isinstance(domain, Choice)
    found = [place for place, one in enumerate(domain.choice) if _plain(one) == _plain(value)]
    return shorten(found[0] / (len(domain.choice) - 1)) if found else None


def _plain(value: Any) -> Any:
    """Lists and tuples alike."""
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _trials(trials: Sequence[Trial], space: Mapping[str, Domain]) -> dict[str, Any]:
    """By trial; places and texts a list a key, None where the trial does not set it."""
    return {
        "number": [trial.number for trial in trials],
        "status": [trial.status for trial in trials],
        "value": [shorten(trial.value) for trial in trials],
        "places": [
            [_place(domain, trial.setting[key]) if key in trial.setting else None for trial in trials]
            for key, domain in space.items()
        ],
        "texts": [
            [show_value(trial.setting, key) if key in trial.setting else None for trial in trials] for key in space
        ],
    }
