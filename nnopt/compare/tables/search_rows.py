"""What a search found, as the rows of its CSV files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nnopt.compare.search.summary import Estimate, Member, SearchSummary, VariantSearch
from nnopt.compare.search.trial import Trial

STATUSES = ("done", "over", "pruned", "diverged", "failed", "running")
Row = dict[str, Any]


def variant_rows(summary: SearchSummary) -> list[Row]:
    """search.csv: a row a variant. The keys are those of its best trial; `edges` are those with the best at an end.

    With two objectives a row a member of its front, which then stands for the best.
    """
    keys = list(dict.fromkeys(key for one in summary.variants for key in one.space))
    names = list(dict.fromkeys(found.name for one in summary.variants for found in one.estimates))
    if summary.against is None:
        return [_variant_row(summary, one, names, keys) for one in summary.variants]
    members = [(one, member) for one in summary.variants for member in one.front or (None,)]
    names = list(dict.fromkeys(found.name for _, member in members if member for found in member.estimates))
    return [
        _variant_row(summary, one if member is None else _with_best(one, member), names, keys)
        | {
            "against": summary.against,
            "cost": _whole(member.trial.cost) if member else None,
            "confirmed_as": member.name if member else None,
        }
        for one, member in members
    ]


def _with_best(one: VariantSearch, member: Member) -> VariantSearch:
    """What was searched for a variant, with a member of its front in the place of the best."""
    return replace(one, best=member.trial, confirmed=member.confirmed, estimates=member.estimates)


def _variant_row(summary: SearchSummary, one: VariantSearch, names: Sequence[str], keys: Sequence[str]) -> Row:
    estimates = {found.name: found for found in one.estimates}
    rates = one.sensitivity
    row: Row = {
        "variant": one.variant,
        "planned": one.planned,
        "trials": len(one.trials),
        **{status: one.counts.get(status, 0) for status in STATUSES if status != "over" or summary.limits},
        "diverged_share": one.diverged.count / one.diverged.of if one.diverged.of else None,
        "diverged_low": one.diverged.interval.low,
        "diverged_high": one.diverged.interval.high,
        "train_seconds": one.seconds,
        "metric": summary.metric,
        "higher_is_better": int(summary.higher_is_better),
        "best_trial": one.best.number if one.best else None,
        "best_value": one.best.value if one.best else None,
        "on_fresh_seeds": int(one.is_confirmed),
        "fresh_seeds_diverged": max((found.lost for found in one.estimates), default=0),
    }
    for name in names:
        row |= _estimate_cells(name, estimates.get(name))
    row |= {
        "lr_low": rates.low if rates else None,
        "lr_high": rates.high if rates else None,
        "lr_decades": rates.decades if rates else None,
        "lr_low_is_open": int(rates.low_is_open) if rates else None,
        "lr_high_is_open": int(rates.high_is_open) if rates else None,
        "edges": " ".join(edge.key for edge in one.edges),
    }
    return row | _settings(one.best, keys)


def trial_rows(summary: SearchSummary) -> list[Row]:
    """trials.csv: a row a trial. An empty cell is a key that the trial does not have; lists are JSON."""
    keys = list(dict.fromkeys(key for one in summary.variants for key in one.space))
    return [
        {
            "variant": one.variant,
            "trial": trial.number,
            "again": trial.again,
            "status": trial.status,
            summary.metric: trial.value,
            **_sizes(trial, summary),
            "train_seconds": trial.train_seconds,
            **_settings(trial, keys),
        }
        for one in summary.variants
        for trial in one.trials
    ]


def _sizes(trial: Trial, summary: SearchSummary) -> Row:
    """What a trial's network takes of the second objective, and of what is limited."""
    costs = {} if summary.against is None else {summary.against: trial.cost}
    wanted = dict.fromkeys([*costs, *summary.limits])
    sizes = {name: trial.sizes.get(name) if costs.get(name) is None else costs[name] for name in wanted}
    return {name: _whole(size) for name, size in sizes.items() if name != summary.metric}


def _whole(size: float | None) -> float | int | None:
    """A count as a whole number: the mean over a trial's seeds is mostly one."""
    return int(size) if size is not None and float(size).is_integer() else size


def sensitivity_rows(summary: SearchSummary) -> list[Row]:
    """sensitivity.csv: a row a trial that is done or diverged; the line goes through those `on_curve`."""
    lines = {
        one.variant: {point.trial for point in one.sensitivity.curve} for one in summary.variants if one.sensitivity
    }
    return [
        {
            "variant": one.variant,
            "key": one.sensitivity.key,
            "rate": point.rate,
            summary.metric: point.value,
            "trial": point.trial,
            "on_curve": int(point.trial in lines[one.variant]),
        }
        for one in summary.variants
        if one.sensitivity
        for point in one.sensitivity.points
    ]


def importance_rows(summary: SearchSummary) -> list[Row]:
    """importance.csv: a row a key, with the lowest and highest share over the forests."""
    return [
        {
            "variant": one.variant,
            "where": key.where,
            "key": key.key,
            "share": key.share,
            "low": key.low,
            "high": key.high,
        }
        for one in summary.variants
        for key in one.importance.keys
    ]


def expected_rows(summary: SearchSummary) -> list[Row]:
    """expected_best.csv: a row for each number of trials, with the ends between which nine of ten draws lie."""
    return [
        {
            "variant": one.variant,
            "trials": n,
            "expected": found.expected[place],
            "low": found.low[place],
            "high": found.high[place],
            "seconds": found.seconds[place],
            "best_so_far": found.so_far[place],
        }
        for one in summary.variants
        if (found := one.expected_best) is not None
        for place, n in enumerate(found.trials)
    ]


# The rows of each table without a row, so that its file has a header all the same.
HEADERS = {
    "trials": ("variant", "trial", "again", "status", "train_seconds"),
    "sensitivity": ("variant", "key", "rate", "trial", "on_curve"),
    "importance": ("variant", "where", "key", "share", "low", "high"),
    "expected_best": ("variant", "trials", "expected", "low", "high", "seconds", "best_so_far"),
}


def to_csv(rows: Sequence[Row], header: Sequence[str] = ()) -> str:
    """Rows of the same columns; `header` where there is none."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else list(header), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _settings(trial: Trial | None, keys: Sequence[str]) -> Row:
    setting: Mapping[str, Any] = trial.setting if trial else {}
    return {key: _cell(setting.get(key)) for key in keys}


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _estimate_cells(name: str, found: Estimate | None) -> Row:
    interval = found.interval if found else None
    return {
        f"{name}_mean": found.mean if found else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
        f"{name}_n": found.n if found else 0,
    }
