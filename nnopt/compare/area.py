"""The level of a curve over its whole length: area under it, divided by the steps that it spans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnopt.compare.groups import Group
from nnopt.compare.series import Series, series

Span = tuple[float, float]


def areas(groups: Sequence[Group], metric: str) -> tuple[dict[str, list[float | None]], Span | None]:
    """Label -> the mean level of `metric` in each of the group's `results`, and the steps (first, last) it is over.

    All are taken over the same steps, those that every run was evaluated along: from the latest first to the
    earliest last evaluation, so that a longer run gains nothing by its length. A run's curve is the line through
    its own values (trapezoids), and never goes on beyond them. None for a run with fewer than two values, which
    leaves the span as it is; None for all where the runs have no steps in common.

    Raises:
        RunsFolderError: a metrics.csv that is damaged.
    """
    curves = {group.label: [series(record, metric) for record in group.results] for group in groups}
    drawn = [curve for those in curves.values() for curve in those if len(curve.values) > 1]
    first = max((curve.steps[0] for curve in drawn), default=0.0)
    last = min((curve.steps[-1] for curve in drawn), default=0.0)
    span = (first, last) if first < last else None
    return {label: [_level(curve, span) for curve in those] for label, those in curves.items()}, span


def _level(curve: Series, span: Span | None) -> float | None:
    """The mean of the line through the values, over the span."""
    if span is None or len(curve.values) < 2:
        return None
    steps = np.asarray(curve.steps)
    inside = steps[(steps > span[0]) & (steps < span[1])]
    corners = np.concatenate([[span[0]], inside, [span[1]]])
    return float(np.trapezoid(np.interp(corners, steps, curve.values), corners)) / (span[1] - span[0])
