"""Two samples made ready to be compared: paired or not, and how finely their values are told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Below three values a spread says next to nothing: the 97.5 % quantile of t is 12.7 with one degree of freedom.
FEWEST = 3
# Values are taken as known to the 24 bits of a float32, in which networks train and event files are written.
RESOLUTION = 2.0**-23
# Between these, fourth powers neither overflow nor vanish.
SAFE = (1e-70, 1e70)


@dataclass(frozen=True)
class Samples:
    """The values that are compared, each sample in the order of its seeds; where `paired`, pair by pair.

    An infinite value is a run that diverged. `step` is the grid that the finite values lie on (`grid_step`), and
    `resolution` the gap below which two of them count as equal. All are in units of `unit`, which is 1 unless
    powers of the values could overflow or vanish. `overlap` is what a mean of n values keeps of their variance beyond
    1/n because they depend on one another: 0 where they do not, n_validation / n_train of cross-validated runs.
    """

    a: Floats
    b: Floats
    paired: bool
    step: float
    resolution: float
    unit: float = 1.0
    overlap: float = 0.0

    @classmethod
    def of(
        cls, a: Mapping[int, float], b: Mapping[int, float], step: float | None = None, overlap: float = 0.0
    ) -> Samples:
        """From two mappings of seed -> value; `step` is their grid where it is known and need not be read off them.

        Pairs are made where every seed of the smaller sample is one of the other's, there are at least three,
        and every value of both is finite: a run that diverged is not left out for having no partner.

        Raises:
            ValueError: a value is NaN.
        """
        for seed, value in (*a.items(), *b.items()):
            if math.isnan(value):
                raise ValueError(f"seed {seed}: NaN is no value; a run that diverged counts as an infinite one")
        shared = sorted(a.keys() & b.keys())
        finite = all(math.isfinite(value) for sample in (a, b) for value in sample.values())
        paired = finite and len(shared) >= FEWEST and len(shared) == min(len(a), len(b))
        values_a = np.array([a[seed] for seed in (shared if paired else sorted(a))], np.float64)
        values_b = np.array([b[seed] for seed in (shared if paired else sorted(b))], np.float64)
        pooled = np.concatenate([values_a, values_b])
        known = pooled[np.isfinite(pooled)]
        largest = _largest(known)
        unit = 1.0 if largest == 0 or SAFE[0] < largest < SAFE[1] else largest
        known, largest = known / unit, largest / unit
        grid = grid_step(known) if step is None else step / unit
        return cls(values_a / unit, values_b / unit, paired, grid, RESOLUTION * largest, unit, overlap)

    def logs(self) -> Samples:
        """The same on logarithms: a step h at a value x is one of log(1 + h/x), taken at the geometric mean of all.

        Raises:
            ValueError: a finite value is not positive.
        """
        known = self.known
        if (known <= 0).any():
            raise ValueError(f"a ratio needs positive values, and {known.min() * self.unit:g} is not")
        middle = math.exp(float(np.log(known).mean())) if len(known) else 1.0
        a, b = (_log(sample) + math.log(self.unit) for sample in (self.a, self.b))
        # The largest value was known to `resolution`, which is the same share of every other.
        step, resolution = math.log1p(self.step / middle), RESOLUTION if len(known) else 0.0
        return Samples(a, b, self.paired, step, resolution, overlap=self.overlap)

    @cached_property
    def known(self) -> Floats:
        """The finite values of both."""
        pooled = np.concatenate([self.a, self.b])
        return np.asarray(pooled[np.isfinite(pooled)], np.float64)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many values of a and of b are used."""
        return len(self.a), len(self.b)

    @cached_property
    def lost(self) -> tuple[int, int]:
        """How many of them are infinite."""
        return int(np.isinf(self.a).sum()), int(np.isinf(self.b).sum())

    @cached_property
    def sds(self) -> tuple[float, float]:
        """Standard deviations of a and of b, no less than their grid allows."""
        return max(_sd(self.a), self.least_sd), max(_sd(self.b), self.least_sd)

    @cached_property
    def paired_sd(self) -> float:
        """The standard deviation of the pairs' differences, no less than their grid allows."""
        return max(_sd(self.a - self.b), self.least_paired_sd)

    @property
    def least_sd(self) -> float:
        """The least standard deviation a sample may have: rounding to a grid of h has variance h²/12 (Sheppard)."""
        return self.step / math.sqrt(12)

    @property
    def least_paired_sd(self) -> float:
        """The same of the difference of two values: twice the variance."""
        return self.step / math.sqrt(6)


def grid_step(values: Floats) -> float:
    """The step of the grid on which finite `values` lie: the greatest common divisor of their gaps, 0 if all are equal.

    An accuracy on 360 samples moves in steps of 1/360. Euclid's algorithm, with errors carried along: each value is
    known to its resolution, and a remainder within its own error is none. Values on no grid so give a step of a
    small part of their range, which no spread notices. (The smallest gap itself would be too wide a step: of pairs
    that differ by nearly the same amount, it is that amount.)
    """
    known = sorted(set(values.tolist()))
    if len(known) < 2:
        return 0.0
    error = RESOLUTION * max(-known[0], known[-1])
    step, step_error = 0.0, error
    for gap in sorted(high - low for low, high in itertools.pairwise(known)):
        if gap <= error:
            continue
        larger, larger_error, smaller, smaller_error = gap, error, step, step_error
        while smaller > smaller_error:
            times = round(larger / smaller)
            rest, rest_error = abs(larger - times * smaller), larger_error + times * smaller_error
            larger, larger_error, smaller, smaller_error = smaller, smaller_error, rest, rest_error
        step, step_error = larger, larger_error
    return step or error


def _sd(values: Floats) -> float:
    """Sample standard deviation (n - 1); 0 of equal values, whatever their mean rounds to."""
    if (values == values[0]).all():
        return 0.0
    centred = values - values.mean()
    return math.sqrt(float(centred @ centred) / (len(values) - 1))


def _largest(values: Floats) -> float:
    return float(np.abs(values).max()) if len(values) else 0.0


def _log(values: Floats) -> Floats:
    """Logarithms of positive values; an infinite one stays what it is."""
    return np.where(np.isinf(values), values, np.log(np.where(np.isinf(values), 1.0, values)))
