"""Sensitivity to the learning rate: the metric against optimizer.lr, over variants that differ in nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from nnopt.compare.comparison import Comparison
from nnopt.compare.differences import NAMES
from nnopt.compare.pictures.figure import MOST_LINES
from nnopt.compare.report.charts import figure
from nnopt.compare.report.lists import shorten
from nnopt.compare.report.look import legend, look
from nnopt.compare.report.markup import Markup, element, section, sentences, table
from nnopt.compare.rows import Row
from nnopt.compare.series import finite
from nnopt.compare.text import listed, show_runs, show_spread

HOW_TO = (
    "No two variants differ in their learning rate alone. Variants with other rates, or the trials of a search, show "
    "here how {metric} depends on it; in the spec such as "
)
EXAMPLE = "adam-low: {optimizer: {kind: adam, lr: 3.0e-4}}"
NO_SETTING = (*NAMES, "tuned", "tags", "notes")

Point = tuple[float, Row]


def rates_part(comparison: Comparison) -> tuple[Markup, dict[str, Any]]:
    """The section, and what its script reads."""
    families = _families(comparison)
    if not families and comparison.searched:
        link = element("a", "Search", href="#search")
        return section("rates", "Learning rate", element("p", "Trials tried the rates: see ", link, ".")), {}
    if not families:
        text = HOW_TO.format(metric=comparison.metric)
        return section("rates", "Learning rate", element("p", text, element("code", EXAMPLE))), {}
    drawn = dict(list(families.items())[:MOST_LINES])
    rows = [
        [name, f"{rate:g}", row.label, show_spread(row.last), show_runs(row)]
        for name, points in families.items()
        for rate, row in points
    ]
    numbers = table(
        f"{comparison.metric} by learning rate",
        ["optimizer", "rate", "variant", comparison.metric, "runs"],
        rows,
        [False, True, False, True, False],
    )
    said = [
        (
            "Lines join variants that differ in nothing but optimizer.lr. A stroke up and down is one standard "
            "deviation over the seeds; a cross is a rate at which every run diverged."
        )
    ]
    if len(families) > len(drawn):
        said.append(f"The first {len(drawn)} lines are drawn, {len(families) - len(drawn)} more are not.")
    made = section(
        "rates",
        "Learning rate",
        figure("rates", _summary(comparison, families), None, legend("rates", list(drawn)), numbers),
        sentences(said),
    )
    lines = [
        {"label": name, **look(index), "points": [_point(rate, row) for rate, row in points]}
        for index, (name, points) in enumerate(drawn.items())
    ]
    return made, {"metric": comparison.metric, "higher": comparison.higher_is_better, "groups": lines}


def _families(comparison: Comparison) -> dict[str, list[Point]]:
    """Name -> rate and row, by rising rate: of rows whose specs are equal but for the rate, where there are two rates.

    Of two rows with one rate the better comes first, and counts.
    """
    found: dict[str, dict[float, Row]] = {}
    kinds: dict[str, str] = {}
    several = len({row.experiment for row in comparison.rows}) > 1
    for row, group in zip(comparison.rows, comparison.groups, strict=True):
        spec = group.records[0].summary.get("spec") or {}
        optimizer = spec.get("optimizer")
        rate = finite(optimizer.get("lr")) if isinstance(optimizer, Mapping) else None
        if not isinstance(optimizer, Mapping) or rate is None or rate <= 0:
            continue
        key = json.dumps([row.experiment, _without_rate(spec)], sort_keys=True, default=str)
        kinds[key] = f"{row.experiment}: {optimizer.get('kind')}" if several else str(optimizer.get("kind"))
        found.setdefault(key, {}).setdefault(rate, row)
    families = {key: sorted(rates.items()) for key, rates in found.items() if len(rates) > 1}
    twice = Counter(kinds[key] for key in families)
    return {
        kinds[key]
        if twice[kinds[key]] == 1
        else f"{kinds[key]} ({listed([row.label for _, row in points], 2)})": points
        for key, points in families.items()
    }


def _without_rate(spec: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in spec.items() if key not in NO_SETTING}
    return kept | {"optimizer": {key: value for key, value in spec["optimizer"].items() if key != "lr"}}


def _point(rate: float, row: Row) -> dict[str, Any]:
    return {
        "rate": shorten(rate),
        "label": row.label,
        "mean": shorten(row.last.mean) if row.last else None,
        "sd": shorten(row.last.sd) if row.last else None,
        "runs": show_runs(row),
        "lost": row.last is None and row.statuses.get("diverged", 0) > 0,
    }


def _summary(comparison: Comparison, families: Mapping[str, list[Point]]) -> str:
    """The best rate of each line, and whether a better one may lie beyond those tried."""
    said = []
    sign = 1 if comparison.higher_is_better else -1
    for name, points in families.items():
        known = [(sign * row.last.mean, rate, row) for rate, row in points if row.last is not None]
        if not known:
            said.append(f"{name}: no rate of {len(points)} has a value")
            continue
        _, best, row = max(known, key=lambda one: one[0])
        edge = ", at the edge of those tried" if best in (points[0][0], points[-1][0]) else ""
        said.append(f"{name} is best at {best:g} ({show_spread(row.last)}; {len(points)} rates{edge})")
    return f"{comparison.metric} against the learning rate: {listed(said, 8)}."
