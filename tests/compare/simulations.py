"""Drawn experiments in which the truth is known: how often intervals hold it, and how often a verdict is false.

In all of them neither variant is better. An interval covers where it holds 0; an alarm is a p below 0.05.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nnopt.compare.statistics.difference import Difference, difference
from nnopt.compare.statistics.holm import holm

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
LEVEL = 0.05


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return generator.normal(size=shape)


def wide(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return 3 * generator.normal(size=shape)


def narrow(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return generator.normal(size=shape) / 3


def coarse(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Known to a grid of one standard deviation, as accuracies on a small validation set are."""
    return np.round(generator.normal(size=shape))


def exponential(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return generator.exponential(size=shape) - 1


# The mean and standard deviation of a lognormal value with sigma 1.
LOGNORMAL_MEAN = math.exp(0.5)
LOGNORMAL_SD = math.sqrt((math.e - 1) * math.e)


def lognormal(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """In units of its standard deviation."""
    return (generator.lognormal(size=shape) - LOGNORMAL_MEAN) / LOGNORMAL_SD


def heavy(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Student's t with three degrees of freedom."""
    return generator.standard_t(3, size=shape)


@dataclass(frozen=True)
class Errors:
    """What the seeds of the two arms add to a mean: laws of mean 0."""

    name: str
    a: Draw
    b: Draw


NORMAL = Errors("normal", normal, normal)
UNEQUAL_SD = Errors("normal, standard deviations 1 : 3", normal, wide)
COARSE = Errors("normal, rounded to a grid of one standard deviation", coarse, coarse)
EXPONENTIAL = Errors("exponential in both", exponential, exponential)
LOGNORMAL = Errors("lognormal in both", lognormal, lognormal)
HEAVY = Errors("heavy tails (t, 3 degrees of freedom) in both", heavy, heavy)
EXPONENTIAL_NARROW = Errors("exponential against normal, standard deviations 3 : 1", exponential, narrow)
LOGNORMAL_NARROW = Errors("lognormal against normal, standard deviations 3 : 1", lognormal, narrow)
EXPONENTIAL_NORMAL = Errors("exponential against normal", exponential, normal)
LOGNORMAL_NORMAL = Errors("lognormal against normal", lognormal, normal)


@dataclass(frozen=True)
class Rates:
    """Shares of `count` experiments."""

    count: int
    covered: float
    alarms: float
    permutation_alarms: float

    def error(self, share: float) -> float:
        """The Monte Carlo standard error of a true share."""
        return math.sqrt(share * (1 - share) / self.count)

    @property
    def highest_alarms(self) -> float:
        """What a level of 5 % may show within two Monte Carlo errors."""
        return LEVEL + 2 * self.error(LEVEL)


def draw(
    errors: Errors, n: int, count: int, *, paired: bool = True, correlation: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats]:
    """[count, n] values of each arm; of normal ones with this correlation between the pairs."""
    # Laws have streams of their own: exp(normal) would else be the same experiment to ranks.
    generator = np.random.default_rng([seed, n, paired, zlib.crc32(errors.name.encode())])
    a, b = errors.a(generator, (count, n)), errors.b(generator, (count, n))
    common = generator.normal(size=(count, n))
    return tuple(math.sqrt(1 - correlation) * arm + math.sqrt(correlation) * common for arm in (a, b))


def lose_one(a: Floats, b: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    """The same, one run of the 2n diverged: where neither variant is better, it is any of them."""
    count, n = a.shape
    pooled = np.concatenate([a, b], axis=1)
    pooled[np.arange(count), np.random.default_rng([seed, n]).integers(0, 2 * n, count)] = -np.inf
    return pooled[:, :n], pooled[:, n:]


def differences(a: Floats, b: Floats, *, paired: bool) -> Iterator[Difference]:
    """The product's own verdict on each row."""
    first = 0 if paired else a.shape[1]
    for row_a, row_b in zip(a.tolist(), b.tolist(), strict=True):
        yield difference(dict(enumerate(row_a)), dict(enumerate(row_b, first)))


def measure(a: Floats, b: Floats, *, paired: bool, truth: float = 0.0) -> Rates:
    """How often the interval holds `truth`, and how often p is below 5 %; where n allows no interval, it is all."""
    covered = alarms = permutation_alarms = 0
    for found in differences(a, b, paired=paired):
        assert found.p is not None
        assert found.permutation_p is not None
        covered += found.interval is None or found.interval.low <= truth <= found.interval.high
        alarms += found.p < LEVEL
        permutation_alarms += found.permutation_p < LEVEL
    count = len(a)
    return Rates(count, covered / count, alarms / count, permutation_alarms / count)


@cache
def rates(
    errors: Errors,
    n: int,
    count: int,
    *,
    paired: bool = True,
    correlation: float = 0.0,
    one_lost: bool = False,
    seed: int = 0,
) -> Rates:
    """Draw and measure; the same arguments give the same figures."""
    a, b = draw(errors, n, count, paired=paired, correlation=correlation, seed=seed)
    if one_lost:
        a, b = lose_one(a - median_difference(errors), b, seed)
    return measure(a, b, paired=paired)


@cache
def median_difference(errors: Errors, count: int = 2_000_000) -> float:
    """The median of a - b, which is what ranks measure; 0 where both arms have one law."""
    if errors.a is errors.b:
        return 0.0
    generator = np.random.default_rng(0)
    return float(np.median(errors.a(generator, (count,)) - errors.b(generator, (count,))))


@dataclass(frozen=True)
class Family:
    """Shares of experiments with any false alarm among several variants compared with one baseline."""

    count: int
    corrected: float
    plain: float


@cache
def family(errors: Errors, n: int, count: int, *, variants: int = 4, seed: int = 0) -> Family:
    """Paired comparisons of `variants` with one baseline, corrected by the product's Holm, and uncorrected."""
    generator = np.random.default_rng([seed, n, variants, zlib.crc32(errors.name.encode())])
    baseline = errors.b(generator, (count, n))
    arms = [errors.a(generator, (count, n)) for _ in range(variants)]
    compared = zip(*(differences(arm, baseline, paired=True) for arm in arms), strict=True)
    corrected = plain = 0
    for found in compared:
        p_values = [one.p for one in found]
        corrected += any(p is not None and p < LEVEL for p in holm(p_values))
        plain += any(p is not None and p < LEVEL for p in p_values)
    return Family(count, corrected / count, plain / count)


def bootstrap_coverage(a: Floats, b: Floats, *, paired: bool, resamples: int = 2_000, seed: int = 0) -> float:
    """How often a plain percentile bootstrap of the mean difference holds 0: what nnopt does not do, and why."""
    count, n = a.shape
    generator = np.random.default_rng([seed, n, 1])
    held = 0
    piece = 250
    for start in range(0, count, piece):
        rows_a, rows_b = a[start : start + piece], b[start : start + piece]
        # A resample draws n of n values: each is taken a multinomial number of times.
        weights_a, weights_b = generator.multinomial(n, np.full(n, 1 / n), size=(2, resamples)) / n
        drawn = (rows_a - rows_b) @ weights_a.T if paired else rows_a @ weights_a.T - rows_b @ weights_b.T
        low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=1)
        held += int(((low <= 0) & (high >= 0)).sum())
    return held / count
