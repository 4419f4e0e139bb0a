"""Intervals and p-values from Student's t: of pairs, and of two samples with variances of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnopt.compare.statistics.samples import Samples

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A difference of means with its standard error, and the degrees of freedom of that error."""

    mean: float
    error: float
    degrees: float

    def interval(self) -> tuple[float, float]:
        """Two-sided, of 95 % confidence."""
        from scipy.special import stdtrit

        reach = float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2)) * self.error
        return self.mean - reach, self.mean + reach

    def p(self) -> float:
        """Two-sided; 1 where neither means nor values differ."""
        from scipy.special import stdtr

        if self.error == 0:
            return 1.0
        return float(2 * stdtr(self.degrees, -abs(self.mean) / self.error))


def paired(samples: Samples) -> Estimate:
    """Student's t of the pairs' differences (Student 1908): n - 1 degrees of freedom."""
    differences = samples.a - samples.b
    n = len(differences)
    return Estimate(float(differences.mean()), samples.paired_sd / math.sqrt(n), n - 1)


def welch(samples: Samples) -> Estimate:
    """Welch's t (1947), degrees of freedom after Satterthwaite (1946): v²/Σ(vᵢ²/(nᵢ-1)), vᵢ = sᵢ²/nᵢ, v = Σvᵢ."""
    squares = [sd**2 / n for sd, n in zip(samples.sds, samples.sizes, strict=True)]
    variance = sum(squares)
    # Where no value differs from another, any number of degrees will do.
    shares = [square / variance if variance else 0.5 for square in squares]
    degrees = 1 / sum(share**2 / (n - 1) for share, n in zip(shares, samples.sizes, strict=True))
    return Estimate(float(samples.a.mean() - samples.b.mean()), math.sqrt(variance), degrees)
