"""How many times as long one group takes to a target as another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from nnopt.compare.statistics.difference import Interval, ratio
from nnopt.compare.statistics.samples import FEWEST
from nnopt.compare.statistics.survival import Times, Watched, factors, kaplan_meier, logrank
from nnopt.compare.target import TimeToTarget


@dataclass(frozen=True)
class TimeRatio:
    """The time of a by the time of b, on one axis.

    `method` is "paired t on logs" or "Welch t on logs" where every run got to the target ("corrected ..." for runs that
    depend on one another): `ratio` is then that of geometric means. It is "log-rank" where one did not: `ratio` is
    that of Kaplan-Meier medians, None where one has none. Both are taken at the evaluations that saw the target. `n`
    counts the runs used of a and of b (paired: the pairs), `reached` all runs that got there.

    `interval` (95 %) is never narrower than the grid of evaluations; an end of 0 or inf is no bound. It and `p` are
    None, and the method "none", where a group has fewer than three runs; the interval also where the log-rank test
    can reject no ratio. `exact` says that all arrangements were counted, `smallest_p` is the least p that any of
    them gives: log-rank only.
    """

    axis: str
    method: str
    n: tuple[int, int]
    reached: tuple[int, int]
    ratio: float | None
    interval: Interval | None
    p: float | None
    exact: bool
    smallest_p: float | None


@dataclass(frozen=True)
class _Answer:
    """Ratio, its interval and p, from the moments as if they were known."""

    method: str
    n: tuple[int, int]
    ratio: float | None
    ends: tuple[float, float] | None
    p: float | None
    side: float  # below 0 where a is the faster
    exact: bool = False
    smallest_p: float | None = None


def time_ratio(a: TimeToTarget, b: TimeToTarget, axis: str, overlap: float = 0.0) -> TimeRatio:
    """The time that a takes by the time that b takes, on an axis that both have.

    Each moment lies between two evaluations. So the answer is worked out three times: at the evaluations that saw
    the target, and with the moments of one group as early and those of the other as late as they can have been. The
    interval is the hull of the three. p is the largest of the three where all favour the same group, else 1, as
    the evaluations alone could have made the difference. Where a run saw the target at its first evaluation, it
    might have been there from the start: on that side there is no bound. `overlap` corrects t as in
    nnopt.compare.statistics.difference; the log-rank test knows no such correction.

    Raises:
        ValueError: the targets differ.
    """
    if a.target != b.target:
        raise ValueError(f"times to {a.target} and to {b.target} do not compare")
    first, second = a.axes[axis].times, b.axes[axis].times
    return replace(_judge(*_in_units(first, second), overlap), axis=axis)


def _in_units(a: Times, b: Times) -> tuple[Times, Times]:
    """Both in units of the longest time: steps and the samples and gradient evaluations in them are then the same."""
    unit = max((time for time in (*a.high, *b.high, *a.end, *b.end) if math.isfinite(time)), default=1.0) or 1.0

    def scaled(times: Times) -> Times:
        low, high, end = (tuple(time / unit for time in side) for side in (times.low, times.high, times.end))
        return replace(times, low=low, high=high, end=end)

    return scaled(a), scaled(b)


@lru_cache(maxsize=64)
def _judge(a: Times, b: Times, overlap: float) -> TimeRatio:
    # A moment of 0, before training, has no logarithm.
    known = bool(a.seeds and b.seeds) and all((*a.reached, *b.reached)) and min(*a.high, *b.high) > 0
    answer = partial(_by_logs, overlap=overlap) if known else _by_ranks
    recorded = answer(a, b, a.high, b.high)
    reached = sum(a.reached), sum(b.reached)
    result = TimeRatio(
        "", recorded.method, recorded.n, reached, recorded.ratio, None, None, recorded.exact, recorded.smallest_p
    )
    if recorded.p is None:
        return result
    # a as early as may be and b as late, and the other way round
    corners = [answer(a, b, a.low, b.high), answer(a, b, a.high, b.low)]
    asked = [recorded, *corners]
    sides = [one.side for one in asked]
    p = max(one.p for one in asked if one.p is not None) if min(sides) > 0 or max(sides) < 0 else 1.0
    return replace(result, interval=_hull(asked), p=p)


def _hull(answers: Sequence[_Answer]) -> Interval | None:
    """All intervals and ratios; None where the recorded moments, the first, let any ratio pass."""
    if answers[0].ends == (0.0, math.inf):
        return None
    known = [end for one in answers for end in (*(one.ends or ()), one.ratio) if end is not None]
    return Interval(min(known), max(known))


def _by_logs(a: Times, b: Times, times_a: tuple[float, ...], times_b: tuple[float, ...], overlap: float) -> _Answer:
    """Student's t on the logarithms of the times, where all were seen.

    A geometric mean with a zero in it is zero: the ratio is then 0 or inf, and has no p.
    """
    if min(times_a) <= 0:
        return _Answer("", (0, 0), 0.0, None, None, -math.inf)
    if min(times_b) <= 0:
        return _Answer("", (0, 0), math.inf, None, None, math.inf)
    of_a, of_b = dict(zip(a.seeds, times_a, strict=True)), dict(zip(b.seeds, times_b, strict=True))
    found = ratio(of_a, of_b, overlap=overlap)
    method = found.method if found.p is None else f"{found.method} on logs"
    ends = (found.interval.low, found.interval.high) if found.interval else None
    return _Answer(method, found.n, found.estimate, ends, found.p, math.log(found.estimate or 1.0))


def _by_ranks(a: Times, b: Times, times_a: tuple[float, ...], times_b: tuple[float, ...]) -> _Answer:
    """The log-rank test and the factors that it lets pass, where some were not seen."""
    n = len(a.seeds), len(b.seeds)
    medians = [kaplan_meier(times, group.reached).median for group, times in ((a, times_a), (b, times_b))]
    factor = medians[0] / medians[1] if medians[0] is not None and medians[1] else None
    if min(n) < FEWEST:
        return _Answer("none", n, factor, None, None, 0.0)
    one, two = Watched.of(times_a, a.reached, a.horizon), Watched.of(times_b, b.reached, b.horizon)
    test = logrank(one, two)
    side = test.expected - test.observed
    return _Answer("log-rank", n, factor, factors(one, two), test.p, side, test.exact, test.smallest_p)
