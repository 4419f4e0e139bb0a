"""How many seeds would settle a question that is open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from nnopt.compare.statistics import student
from nnopt.compare.statistics.difference import CORRECTED, Difference
from nnopt.compare.statistics.samples import FEWEST, Samples

LEVEL = 0.05
# From this noncentrality on, the chance that t falls out on the wrong side is below 1e-8 and left out: its own
# formula is no longer stable there.
ONE_SIDED = 4.0

Enough = Callable[[int], bool]


def seeds_needed(
    d: Difference,
    a: Mapping[int, float],
    b: Mapping[int, float],
    comparisons: int = 1,
    power: float = 0.8,
    most: int = 1000,
    overlap: float = 0.0,
) -> int | None:
    """Runs in each group (pairs, where paired) at which such a difference would be decided with that power.

    It takes the difference and the spread of `d`, measured on `a` and `b`, for the true ones, and a two-sided test
    at 0.05 / comparisons (Bonferroni: the first step of Holm). `overlap` is that of `difference`: beyond 1/overlap
    runs, more of them say hardly more. None beyond `most`, and where nothing can be said:
    no difference, or too few runs to know a spread.
    """
    level = LEVEL / comparisons
    method = d.method.removeprefix(f"{CORRECTED} ")
    if method not in _ENOUGH:
        return None
    samples = Samples.of(a, b, overlap=overlap)
    enough = _ENOUGH[method](d, samples.logs() if d.is_ratio else samples, level, power)
    if enough is None or not enough(most):
        return None
    # Power grows with n: halve until the first number that is enough.
    too_few, found = FEWEST - 1, most
    while found - too_few > 1:
        middle = (too_few + found) // 2
        too_few, found = (too_few, middle) if enough(middle) else (middle, found)
    return found


def t_power(noncentrality: float, degrees: float, level: float) -> float:
    """The chance that a two-sided t test at `level` decides: 1 - F(c) + F(-c), F the noncentral t, c its threshold."""
    from scipy.special import nctdtr, ndtr, stdtrit

    threshold = float(stdtrit(degrees, 1 - level / 2))
    above = 1 - float(nctdtr(degrees, noncentrality, threshold))
    if math.isnan(above):  # the series gave up; that far out the normal law is as good
        above = float(ndtr(noncentrality - threshold))
    below = float(nctdtr(degrees, noncentrality, -threshold)) if noncentrality < ONE_SIDED else 0.0
    return above + below


def _paired(_: Difference, samples: Samples, level: float, power: float) -> Enough | None:
    """Noncentrality |mean|/(sd·√(1/n + overlap)) of the differences, n - 1 degrees of freedom."""
    away, sd = abs(student.paired(samples).mean), samples.paired_sd
    if away == 0 or sd == 0:
        return None
    return lambda n: t_power(away / sd / math.sqrt(1 / n + samples.overlap), n - 1, level) >= power


def _welch(_: Difference, samples: Samples, level: float, power: float) -> Enough | None:
    """Noncentrality |difference|/√((sa² + sb²)·(1/n + overlap)), degrees of freedom by Welch's formula at n each."""
    away, (sd_a, sd_b) = abs(student.welch(samples).mean), samples.sds
    variance = sd_a**2 + sd_b**2
    if away == 0 or variance == 0:
        return None
    degrees = variance**2 / (sd_a**4 + sd_b**4)
    return lambda n: t_power(away / math.sqrt(variance * (1 / n + samples.overlap)), (n - 1) * degrees, level) >= power


def _ranks(d: Difference, _: Samples, level: float, power: float) -> Enough | None:
    """Noether (1987), with as many of each: n >= (z of level/2 + z of power)² / (6·(superiority - 1/2)²).

    And so many that the exact test can fall below the level at all.
    """
    from scipy.special import ndtri

    if d.superiority is None or d.superiority == 0.5:
        return None
    quantiles = float(ndtri(1 - level / 2) + ndtri(power))
    least = quantiles**2 / (6 * (d.superiority - 0.5) ** 2)
    return lambda n: n >= least and 2 / math.comb(2 * n, n) <= level


_ENOUGH: dict[str, Callable[[Difference, Samples, float, float], Enough | None]] = {
    "paired t": _paired,
    "Welch t": _welch,
    "ranks": _ranks,
}
