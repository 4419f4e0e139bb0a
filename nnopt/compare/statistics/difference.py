"""The difference of a quantity between two samples of runs, with its interval and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nnopt.compare.statistics import student
from nnopt.compare.statistics.effect import hedges_g
from nnopt.compare.statistics.permutation import flip_signs, relabel
from nnopt.compare.statistics.ranks import rank_test, shift, shift_interval, superiority
from nnopt.compare.statistics.samples import FEWEST, Samples

SAME_BITS = "same bits"  # the method of samples that are known to be the same runs
CORRECTED = "corrected"


@dataclass(frozen=True)
class Interval:
    """An interval of 95 % confidence; an infinite end means no bound on that side."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A quantity's difference between two samples, a - b; where `is_ratio`, its ratio a / b.

    `method` is "paired t", "Welch t", "corrected paired t" and "corrected Welch t" (of values that depend on one
    another, which have no permutation test), "ranks", "same bits" or "none". `n` counts the values used of a and of b
    (paired: the same number, the pairs), `lost` the infinite ones among them: runs that diverged.
    `estimate` is the mean difference, the ratio of geometric means, or the Hodges-Lehmann shift for ranks; None
    where that is no number (half of the runs diverged: `superiority` still says which way it goes). `interval` and
    `p` are None where n allows none. `smallest_p` is the smallest p that
    the permutation test can give at this n. `effect_size` is Hedges' g, positive where a is larger; None for
    ranks. `superiority` is P(value of a > value of b) + half of ties over all pairs of runs, whatever is better.
    """

    method: str
    n: tuple[int, int]
    paired: bool
    is_ratio: bool
    estimate: float | None
    interval: Interval | None
    p: float | None
    permutation_p: float | None
    smallest_p: float | None
    effect_size: float | None
    superiority: float | None
    lost: tuple[int, int]


def difference(
    a: Mapping[int, float], b: Mapping[int, float], step: float | None = None, overlap: float = 0.0
) -> Difference:
    """The difference a - b of two samples, each seed -> value; a run that diverged has an infinite value.

    Paired t where every seed of the smaller sample is in the other and at least three are shared, else Welch's t;
    ranks where any value is infinite; "none" where a sample has fewer than three values. No spread is less than the
    `step` in which values move allows; it is read off them where it is not given. `overlap` corrects t for values
    that depend on one another, as those of cross-validated runs do: validation rows by training rows.

    Raises:
        ValueError: a value is NaN.
    """
    return _compare(Samples.of(a, b, step, overlap), is_ratio=False)


def ratio(
    a: Mapping[int, float], b: Mapping[int, float], step: float | None = None, overlap: float = 0.0
) -> Difference:
    """The ratio a / b of two samples of positive quantities: `difference` on their logarithms.

    Estimate and interval are ratios, the effect size is one of logarithms. Infinite values are allowed.

    Raises:
        ValueError: a value is NaN, or finite and not positive.
    """
    return _compare(Samples.of(a, b, step, overlap).logs(), is_ratio=True)


def _compare(samples: Samples, is_ratio: bool) -> Difference:
    if min(samples.sizes) < FEWEST:
        found = _anecdote(samples)
    elif any(samples.lost):
        found = _by_ranks(samples)
    else:
        found = _by_t(samples)

    def turn_back(value: float) -> float:
        return _exp(value) if is_ratio else value * samples.unit

    return replace(
        found,
        is_ratio=is_ratio,
        estimate=None if found.estimate is None else turn_back(found.estimate),
        interval=found.interval and Interval(turn_back(found.interval.low), turn_back(found.interval.high)),
    )


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _anecdote(samples: Samples) -> Difference:
    """Too few values for anything but the plain difference of their means."""
    known = all(samples.sizes) and not any(samples.lost)
    return Difference(
        method="none",
        n=samples.sizes,
        paired=False,
        is_ratio=False,
        estimate=float(samples.a.mean() - samples.b.mean()) if known else None,
        interval=None,
        p=None,
        permutation_p=None,
        smallest_p=None,
        effect_size=None,
        superiority=superiority(samples.a, samples.b),
        lost=samples.lost,
    )


def _by_t(samples: Samples) -> Difference:
    estimate = student.paired(samples) if samples.paired else student.welch(samples)
    method = "paired t" if samples.paired else "Welch t"
    permutation_p: float | None = None
    smallest_p: float | None = None
    if samples.overlap:  # signs and labels of values that depend on one another cannot be dealt out one by one
        method = f"{CORRECTED} {method}"
    else:
        permutation_p, smallest_p = flip_signs(samples) if samples.paired else relabel(samples)
    return Difference(
        method=method,
        n=samples.sizes,
        paired=samples.paired,
        is_ratio=False,
        estimate=estimate.mean,
        interval=Interval(*estimate.interval()),
        p=estimate.p(),
        permutation_p=permutation_p,
        smallest_p=smallest_p,
        effect_size=hedges_g(samples),
        superiority=superiority(samples.a, samples.b),
        lost=samples.lost,
    )


def _by_ranks(samples: Samples) -> Difference:
    """Not paired, even where seeds are shared: of three pairs, signed ranks could give no p below 0.25."""
    ends = shift_interval(samples)
    p, smallest_p = rank_test(samples)
    return Difference(
        method="ranks",
        n=samples.sizes,
        paired=False,
        is_ratio=False,
        estimate=shift(samples),
        interval=Interval(*ends) if ends else None,
        p=p,
        permutation_p=p,
        smallest_p=smallest_p,
        effect_size=None,
        superiority=superiority(samples.a, samples.b),
        lost=samples.lost,
    )
