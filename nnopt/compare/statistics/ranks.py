"""Statistics that ask only which value is larger: for samples in which runs diverged, and rank worst (Lachin 1999)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from nnopt.compare.statistics.samples import Floats, Samples
from nnopt.compare.statistics.student import CONFIDENCE

# Up to this product of the sizes, ranks are counted out exactly; beyond it (50 against 50) the normal law is as good.
MOST_COUNTED = 2_500


def superiority(a: Floats, b: Floats) -> float | None:
    """P(value of a > value of b) + half of ties, over all pairs of one of each; None where one is empty."""
    if not (len(a) and len(b)):
        return None
    larger, equal = a[:, None] > b[None, :], a[:, None] == b[None, :]
    return float((2 * larger.sum() + equal.sum()) / (2 * larger.size))


def shift(samples: Samples) -> float | None:
    """The median of all differences of a value of a and one of b (Hodges & Lehmann 1963).

    None where that is no number: half of the differences or more are infinite, or a sample has no finite value.
    """
    if any(lost == size for lost, size in zip(samples.lost, samples.sizes, strict=True)):
        return None
    differences = _differences(samples)
    count = len(differences)
    low, high = float(differences[(count - 1) // 2]), float(differences[count // 2])
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return low + (high - low) / 2


def shift_interval(samples: Samples) -> tuple[float, float] | None:
    """The shifts that an exact Mann-Whitney test at 5 % does not refuse (Hodges & Lehmann 1963).

    Between the k-th smallest and the k-th largest of all differences. An end is infinite where runs that
    diverged decide it. None where the sizes allow no interval of 95 % (such as 3 and 3), and where no value of
    either sample is finite.
    """
    trimmed = _trimmed(*samples.sizes)
    if not trimmed or not len(samples.known):
        return None
    differences = _differences(samples)
    return float(differences[trimmed - 1]), float(differences[-trimmed])


def rank_test(samples: Samples) -> tuple[float, float]:
    """The p of an exact permutation test of the rank sum (midranks for ties), and the smallest p at these sizes.

    Twice the smaller tail over all ways to deal out the labels: without ties the exact Mann-Whitney test.
    """
    m, n = samples.sizes
    smallest = 2 / math.comb(m + n, m)
    doubled = _doubled_midranks(np.concatenate([samples.a, samples.b]))
    observed = int(doubled[:m].sum())
    if m * n > MOST_COUNTED:
        return _normal_p(doubled, observed, m), smallest
    counts = _rank_sums(tuple(sorted(doubled.tolist())), m)
    tail = min(float(counts[: observed + 1].sum()), float(counts[observed:].sum()))
    return min(1.0, 2 * tail / float(counts.sum())), smallest


def _differences(samples: Samples) -> Floats:
    """[m·n]: every value of a less every one of b, in order; two runs that diverged differ by nothing."""
    with np.errstate(invalid="ignore"):
        differences = samples.a[:, None] - samples.b[None, :]
    return np.sort(np.nan_to_num(differences, nan=0.0, posinf=np.inf, neginf=-np.inf), axis=None)


def _doubled_midranks(values: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Twice the ranks, from 2; equal values share the mean of their ranks, which doubled is a whole number."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return np.asarray((2 * last - counts + 1)[places], np.int64)


@lru_cache(maxsize=512)
def _rank_sums(doubled: tuple[int, ...], m: int) -> Floats:
    """How many ways to choose m of the doubled ranks give each sum, from 0 up."""
    ways = np.zeros((m + 1, sum(doubled) + 1))
    ways[0, 0] = 1
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, :-rank]
    return np.asarray(ways[m], np.float64)


@lru_cache(maxsize=512)
def _trimmed(m: int, n: int) -> int:
    """The largest k with P(U < k) <= 2.5 % for the Mann-Whitney U of m and n values: 0 where there is none."""
    tail = (1 - CONFIDENCE) / 2
    if m * n > MOST_COUNTED:
        from scipy.special import ndtri

        return math.floor(m * n / 2 + float(ndtri(tail)) * math.sqrt(m * n * (m + n + 1) / 12))
    counts = _rank_sums(tuple(range(2, 2 * (m + n) + 1, 2)), m)
    by_u = counts[m * (m + 1) :: 2]
    # A share that equals the tail but for rounding is within it.
    return int((by_u.cumsum() <= tail * by_u.sum() * (1 + 1e-12)).sum())


def _normal_p(doubled: np.ndarray[tuple[int], np.dtype[np.int64]], observed: int, m: int) -> float:
    """Two-sided p of the sum of m doubled midranks by the normal law, with ties and half a step of continuity."""
    from scipy.special import ndtr

    total, n = len(doubled), len(doubled) - m
    # The variance of a sum of m values drawn without replacement.
    variance = m * n / total * float(doubled.var(ddof=1))
    if variance == 0:
        return 1.0
    away = max(0.0, abs(observed - m * float(doubled.mean())) - 1)
    return float(min(1.0, 2 * ndtr(-away / math.sqrt(variance))))
