"""Intervals and p-values from Student's t: of pairs, and of two samples with variances of their own.

Where the values depend on one another (`Samples.overlap`, o), the variance of their mean is s²·(1/n + o) and not s²/n:
the corrected resampled t of Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52 (2003),
section 4.2; on repeated cross-validation, Bouckaert and Frank, Evaluating the Replicability of Significance Tests for
Comparing Learning Algorithms, PAKDD 2004.
"""

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
    return Estimate(float(differences.mean()), samples.paired_sd * math.sqrt(1 / n + samples.overlap), n - 1)


def welch(samples: Samples) -> Estimate:
    """Welch's t (1947), degrees after Satterthwaite (1946): v²/Σ(vᵢ²/(nᵢ-1)), vᵢ = sᵢ²·(1/nᵢ + o), v = Σvᵢ."""
    squares = [sd**2 * (1 / n + samples.overlap) for sd, n in zip(samples.sds, samples.sizes, strict=True)]
    variance = sum(squares)
    # Where no value differs from another, any number of degrees will do.
    shares = [square / variance if variance else 0.5 for square in squares]
    degrees = 1 / sum(share**2 / (n - 1) for share, n in zip(shares, samples.sizes, strict=True))
    return Estimate(float(samples.a.mean() - samples.b.mean()), math.sqrt(variance), degrees)
