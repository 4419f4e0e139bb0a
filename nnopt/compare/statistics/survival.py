"""Times to an event that some runs never saw: Kaplan-Meier curve, log-rank test, the factor between two groups.

A time that was not seen is censored: all that is known is that the event had not come by then. A run that never
comes to it (it diverged) is censored at infinity. Where an event and a censored time are equal the event comes first.

Kaplan & Meier 1958, doi:10.1080/01621459.1958.10501452; log-rank scores and their permutation: Peto & Peto 1972,
doi:10.2307/2344317; the factor by inverting the test: Louis 1981, Biometrika 68:381, and Wei & Gail 1983,
J. Am. Stat. Assoc. 78:382.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nnopt.compare.statistics.permutation import DRAWN, MOST_ARRANGEMENTS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALPHA = 0.05
# Times closer than this part of themselves are equal: a factor times a time is rounded.
TIE = 1e-9
MOST_RUNS = 40  # of both groups: beyond, the arrangements at factor 1 stand for those at the others
FAR = 3.0  # standard deviations beyond which arrangements need not be counted: they reject
COARSE = 256  # factors looked at before the search closes in
CHUNK = 8  # factors whose arrangements are counted at once


@dataclass(frozen=True)
class Times:
    """When the runs of one group saw the event, on one axis (steps, samples, seconds, gradient evaluations).

    One entry a run, in the order of the seeds. A run that `reached` it did so in (low, high]; where both are equal
    the moment is known. One that did not is censored: low = high = the last it was looked at, inf where it
    diverged. `end` is how far each run was looked at whether it reached it or not (inf: diverged).
    """

    seeds: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    reached: tuple[bool, ...]
    end: tuple[float, ...]

    @property
    def horizon(self) -> float:
        """The end of the longest run that did not diverge: beyond it nothing could be seen. inf where none ended."""
        return max((end for end in self.end if math.isfinite(end)), default=math.inf)


@dataclass(frozen=True)
class Survival:
    """A Kaplan-Meier curve: from `times[i]` on, `survival[i]` of the runs have not seen the event; 1 before."""

    times: tuple[float, ...]
    survival: tuple[float, ...]

    def at(self, time: float) -> float:
        """The share of runs that have not seen the event by `time`."""
        place = int(np.searchsorted(self.times, time, side="right"))
        return self.survival[place - 1] if place else 1.0

    @property
    def median(self) -> float | None:
        """The first time at which half of the runs, or fewer, have not seen it; None where that never comes."""
        # 9/10 * 8/9 * ... ends a rounding away from 1/2.
        return next((t for t, share in zip(self.times, self.survival, strict=True) if share <= 0.5 + TIE), None)


def kaplan_meier(times: Sequence[float], events: Sequence[bool]) -> Survival:
    """The product over event times t of 1 - d/n: d saw the event at t, n had neither seen it nor been lost before t."""
    known, seen = np.asarray(times, np.float64), np.asarray(events, bool)
    moments = np.unique(known[seen])
    at_risk = (known[:, None] >= moments).sum(axis=0)
    came = (known[seen][:, None] == moments).sum(axis=0)
    return Survival(tuple(moments.tolist()), tuple(np.cumprod(1 - came / at_risk).tolist()))


@dataclass(frozen=True)
class Watched:
    """One group as the log-rank test sees it: n times, whether each is an event, and how far it was watched."""

    times: Floats
    events: Bools
    horizon: float = math.inf

    @classmethod
    def of(cls, times: Sequence[float], events: Sequence[bool], horizon: float = math.inf) -> Watched:
        """From plain sequences."""
        return cls(np.asarray(times, np.float64), np.asarray(events, bool), horizon)


@dataclass(frozen=True)
class LogRank:
    """The log-rank test of two groups.

    `observed` events in the first group, and as many as were `expected` there if both were alike. `p` is two-sided:
    the share of arrangements of the pooled runs in groups of these sizes whose |observed - expected| is at least the
    one seen; `exact` where all arrangements were counted. `smallest_p` is the least that any arrangement of these
    times gives.
    """

    observed: float
    expected: float
    p: float
    exact: bool
    smallest_p: float


def logrank(a: Watched, b: Watched) -> LogRank:
    """Whether two groups see the event equally early.

    Both are looked at only as far as both were watched: later events say nothing, as nobody of the other group is
    left to compare with, but would count in the arrangements. The test is exact where runs of both groups are
    censored alike (one budget); otherwise it is approximate, as every log-rank test by permutation.
    """
    times, events = _pooled(a, b, np.ones(1))
    scores = _scores(times, events)
    sums, exact = _arranged(scores, len(a.times))
    difference = float(scores[0, : len(a.times)].sum())
    observed = float(events[0, : len(a.times)].sum())
    most = float(np.abs(sums).max()) if exact else math.inf
    return LogRank(
        observed=observed,
        expected=observed - difference,
        p=float(_share(sums, np.array([abs(difference)]), exact)[0]),
        exact=exact,
        smallest_p=float(_share(sums, np.array([most]), exact)[0]),
    )


def factors(a: Watched, b: Watched) -> tuple[float, float]:
    """The factors c for which the log-rank test at 5 % lets a's times be c times b's: the least and the greatest.

    0 and inf are no bounds: the test rejects nothing on that side, because n is too small or too few events were
    seen. All times are stretched by one factor (the accelerated failure time model), the horizon with them. The test
    changes only where a time of a meets one of c * b, so that finitely many factors are tried: each meeting point,
    and one between any two.
    """
    ends = [np.append(group.times, group.horizon) for group in (a, b)]
    usable = [end[np.isfinite(end) & (end > 0)] for end in ends]
    meetings = np.unique(np.divide.outer(*usable))
    if not len(meetings):
        return 0.0, math.inf
    meetings = meetings[np.append(True, np.diff(meetings) > TIE * meetings[1:])]
    tried = np.empty(2 * len(meetings) + 1)
    tried[1::2], tried[2:-1:2] = meetings, np.sqrt(meetings[:-1] * meetings[1:])
    tried[0], tried[-1] = meetings[0] / 2, meetings[-1] * 2
    few = len(a.times) + len(b.times) <= MOST_RUNS
    first, last = (_allowed_by_arrangements if few else _allowed_by_variance)(a, b, tried)
    # A meeting point stands for itself, a factor between two for the gap around it.
    low, high = np.repeat(np.append(0.0, meetings), 2)[1:], np.repeat(np.append(meetings, math.inf), 2)[:-1]
    return float(low[first]), float(high[last])


def _allowed_by_arrangements(a: Watched, b: Watched, tried: Floats) -> tuple[int, int]:
    """The first and the last place whose arrangements do not reject.

    Only those within FAR standard deviations are counted, from both ends on.
    """
    chosen = len(a.times)
    scores = _scores(*_pooled(a, b, tried))
    near = np.flatnonzero(_standardised(scores, chosen) < FAR)
    begin, end = (int(near[0]), int(near[-1])) if len(near) else (0, len(tried) - 1)
    first = begin + _first_allowed(scores[begin : end + 1], chosen)
    return first, end - _first_allowed(scores[first : end + 1][::-1], chosen)


def _first_allowed(scores: Floats, chosen: int) -> int:
    """The first place that the arrangements do not reject; the last one where they reject all."""
    for begin in range(0, len(scores), CHUNK):
        part = scores[begin : begin + CHUNK]
        sums, exact = _arranged(part, chosen)
        allowed = np.flatnonzero(_share(sums, np.abs(part[:, :chosen].sum(axis=1)), exact) > ALPHA)
        if len(allowed):
            return begin + int(allowed[0])
    return len(scores) - 1


def _allowed_by_variance(a: Watched, b: Watched, tried: Floats) -> tuple[int, int]:
    """As `_allowed_by_arrangements`, for many runs.

    A place is rejected where |observed - expected| is more standard deviations than the arrangements allow at
    factor 1. Every `step`-th place is looked at, then those beside the outermost.
    """
    chosen = len(a.times)
    critical = _critical(_scores(*_pooled(a, b, np.ones(1))), chosen)

    def within(places: NDArray[np.intp]) -> NDArray[np.intp]:
        return places[_standardised(_scores(*_pooled(a, b, tried[places])), chosen) < critical + TIE]

    step = 1 + len(tried) // COARSE
    found = within(np.arange(0, len(tried), step))
    if step > 1 and len(found):
        before = np.arange(max(found[0] - step, 0), found[0])
        after = np.arange(found[-1] + 1, min(found[-1] + step, len(tried)))
        found = np.concatenate([within(before), found, within(after)])
    return (int(found[0]), int(found[-1])) if len(found) else (0, len(tried) - 1)


def _critical(scores: Floats, chosen: int) -> float:
    """The largest standardised |sum| that the arrangements of these scores [1, n] do not reject."""
    sums, exact = _arranged(scores, chosen)
    total = sums.shape[1] + (0 if exact else 1)
    fewest = math.floor(ALPHA * total) + (1 if exact else 0)  # arrangements as extreme that make p > ALPHA
    spread = math.sqrt(_variance(scores, chosen)[0])
    return float(np.sort(sums[0])[-fewest]) / spread if spread > 0 else math.inf


def _pooled(a: Watched, b: Watched, factor: Floats) -> tuple[Floats, Bools]:
    """[c, n + m]: the times of a and, times each factor, of b, all censored where the first horizon ends."""
    times = np.empty((len(factor), len(a.times) + len(b.times)))
    times[:, : len(a.times)] = a.times
    times[:, len(a.times) :] = factor[:, None] * b.times
    events = np.append(a.events, b.events)
    horizon = np.minimum(a.horizon, factor * b.horizon)[:, None]
    return np.minimum(times, horizon), events & (times <= horizon * (1 + TIE))


def _scores(times: Floats, events: Bools) -> Floats:
    """[c, n]: event - cumulative hazard (Nelson-Aalen) at the run's time, over the pooled runs.

    Summed over one group they are observed - expected events of the log-rank test; over all runs they are 0.
    """
    rows, places = np.arange(len(times))[:, None], np.arange(times.shape[1])
    order = np.argsort(times, axis=1)
    ordered = times[rows, order]
    # Runs of equal times share the risk set of the first of them and the hazard of the last.
    is_first = np.ones(times.shape, bool)
    is_first[:, 1:] = ordered[:, 1:] > ordered[:, :-1] * (1 + TIE)
    first = np.maximum.accumulate(np.where(is_first, places, 0), axis=1)
    is_last = np.append(is_first[:, 1:], is_first[:, :1], axis=1)
    last = np.minimum.accumulate(np.where(is_last, places, len(places))[:, ::-1], axis=1)[:, ::-1]
    hazard = np.cumsum(events[rows, order] / (len(places) - first), axis=1)
    scores = np.empty(times.shape)
    scores[rows, order] = events[rows, order] - np.take_along_axis(hazard, last, axis=1)
    return scores


def _variance(scores: Floats, chosen: int) -> Floats:
    """[c]: of the sum of the scores over `chosen` runs, over all arrangements."""
    size = scores.shape[1]
    return np.asarray((scores**2).sum(axis=1) * chosen * (size - chosen) / (size * (size - 1)), np.float64)


def _standardised(scores: Floats, chosen: int) -> Floats:
    """[c]: |observed - expected| in standard deviations; 0 where every arrangement gives the same."""
    spread = np.sqrt(_variance(scores, chosen))
    difference = np.abs(scores[:, :chosen].sum(axis=1))
    return np.asarray(np.divide(difference, spread, out=np.zeros(len(scores)), where=spread > 0), np.float64)


def _arranged(scores: Floats, chosen: int) -> tuple[Floats, bool]:
    """[c, arrangements]: |sum| of the scores over every choice of `chosen` runs, and whether all choices are there.

    The scores are sorted, and the smaller group drawn, so that the same data give the same p in whatever order.
    """
    size = scores.shape[1]
    labels, exact = _labels(size, min(chosen, size - chosen))
    sums = np.sort(scores, axis=1) @ labels
    return np.abs(sums, out=sums), exact


@lru_cache(maxsize=4)
def _labels(size: int, chosen: int) -> tuple[Floats, bool]:
    """[size, arrangements] of 0 and 1 with `chosen` ones in each column: all there are, or a random sample."""
    count = math.comb(size, chosen)
    if count <= MOST_ARRANGEMENTS:
        picked = np.array(list(itertools.combinations(range(size), chosen)), np.intp).reshape(count, chosen)
    else:
        picked = np.argsort(np.random.default_rng(0).random((DRAWN, size)), axis=1)[:, :chosen]
    labels = np.zeros((size, len(picked)))
    labels[picked.T, np.arange(len(picked))] = 1.0
    return labels, count <= MOST_ARRANGEMENTS


def _share(sums: Floats, seen: Floats, exact: bool) -> Floats:
    """[c]: the share of arrangements at least as extreme as `seen`; of a sample, (k + 1) / (m + 1)."""
    count = (sums >= (seen - TIE)[:, None]).sum(axis=1)
    return np.asarray(count / sums.shape[1] if exact else (count + 1) / (sums.shape[1] + 1), np.float64)
