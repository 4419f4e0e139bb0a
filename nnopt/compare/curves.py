"""Curves of several seeds brought onto common steps, without a value that no run has measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nnopt.compare.series import series
from nnopt.store.record import RunRecord

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Aligned:
    """Curves of n runs on the union of their k steps.

    `steps` [k] is increasing; `values` and `seconds` (training time) [n, k] are NaN where a run has no value
    at a step: before its first and after its last one, and where its evaluations fall elsewhere.
    """

    steps: Floats
    values: Floats
    seconds: Floats

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """[n, k]: whether the run has a value at the step."""
        return ~np.isnan(self.values)

    @cached_property
    def count(self) -> NDArray[np.int64]:
        """[k]: runs with a value at the step; at least one."""
        return np.asarray(self.present.sum(axis=0), np.int64)

    @cached_property
    def mean(self) -> Floats:
        """[k]: over the runs that have a value at the step."""
        return _sum(self.values) / self.count

    @cached_property
    def mean_seconds(self) -> Floats:
        """[k]: training time at the step, mean over the runs that have a value there."""
        return _sum(self.seconds) / self.count

    @cached_property
    def sd(self) -> Floats:
        """[k]: sample standard deviation (n - 1) of those values; NaN where only one run has a value."""
        squares = _sum((self.values - self.mean) ** 2)
        nowhere = np.full(len(squares), np.nan)
        variance = np.divide(squares, self.count - 1, out=nowhere, where=self.count > 1)
        return np.asarray(np.sqrt(variance), np.float64)

    @cached_property
    def under_way(self) -> NDArray[np.bool_]:
        """[n, k]: whether the step lies between the run's first and last value."""
        begun = np.logical_or.accumulate(self.present, axis=1)
        not_over = np.logical_or.accumulate(self.present[:, ::-1], axis=1)[:, ::-1]
        return begun & not_over

    @cached_property
    def common(self) -> NDArray[np.intp]:
        """Indices of the steps at which every run that is under way has a value."""
        return np.flatnonzero((self.present == self.under_way).all(axis=0))

    @property
    def has_common_steps(self) -> bool:
        """Whether a mean stands for the runs: half of the steps with several under way are common.

        A single run stands for itself.
        """
        together = self.under_way.sum(axis=0) > 1
        if len(self.values) <= 1:
            return len(self.values) == 1
        return bool(together.any()) and 2 * int(together[self.common].sum()) >= int(together.sum())

    def segments(self) -> Iterator[NDArray[np.intp]]:
        """The common steps, in pieces over which one line of the mean may be drawn.

        A piece ends where a run begins or ends: the line would otherwise jump, or go back in time, only
        because other runs are averaged.
        """
        if len(self.common):
            present = self.present[:, self.common]
            changes = (present[:, 1:] != present[:, :-1]).any(axis=0)
            yield from np.split(self.common, np.flatnonzero(changes) + 1)


def align(records: Sequence[RunRecord], column: str) -> Aligned:
    """The curves of `column` against steps and training seconds; runs without any value are left out."""
    curves = [curve for curve in (series(record, column) for record in records) if curve.values]
    union = np.unique(np.concatenate([np.array(curve.steps) for curve in curves])) if curves else np.empty(0)
    values, seconds = (np.full((len(curves), len(union)), np.nan) for _ in range(2))
    for row, curve in enumerate(curves):
        places = np.searchsorted(union, curve.steps)
        values[row, places] = curve.values
        seconds[row, places] = curve.seconds
    return Aligned(union, values, seconds)


def _sum(values: Floats) -> Floats:
    return np.asarray(np.nansum(values, axis=0), np.float64)
