"""The size of a difference in units of the spread between seeds."""

from __future__ import annotations

import math

from nnopt.compare.statistics.samples import Samples


def hedges_g(samples: Samples) -> float:
    """Difference of means by the pooled standard deviation, times J (Hedges 1981); 0 where all values are equal.

    Pairs, too, are measured by the spread of the samples, so that the size does not depend on the design.
    """
    m, n = samples.sizes
    degrees = m + n - 2
    sd_a, sd_b = samples.sds
    pooled = math.sqrt(((m - 1) * sd_a**2 + (n - 1) * sd_b**2) / degrees)
    return small_sample_factor(degrees) * float(samples.a.mean() - samples.b.mean()) / pooled if pooled else 0.0


def small_sample_factor(degrees: int) -> float:
    """J, which takes the bias off a standardised difference: Γ(m/2) / (√(m/2) Γ((m-1)/2)); about 1 - 3/(4m - 1)."""
    half = degrees / 2
    return math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
