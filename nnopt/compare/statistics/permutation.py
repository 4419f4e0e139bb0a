"""Permutation tests: how rare the difference would be if signs or labels had been dealt out at random."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from nnopt.compare.statistics.samples import Floats, Samples

# All arrangements are gone through up to this number; beyond it, DRAWN are drawn, always the same ones.
MOST_ARRANGEMENTS = 20_000
DRAWN = 9_999
# Matrices of arrangements up to this number of entries are kept (16 MB); larger ones are drawn piece by piece.
KEPT = 2_000_000
# Statistics that are equal but for the rounding of float64 count as equal.
TIE = 1e-9


def flip_signs(samples: Samples) -> tuple[float, float]:
    """The p of a paired permutation test, and the smallest p that the number of pairs allows.

    If neither variant is better, each difference might as well have had the other sign: p is the share of the
    2ⁿ ways to set signs whose mean is at least as far from 0 as the one measured (Fisher 1935).
    """
    differences = samples.a - samples.b
    n = len(differences)
    arrangements = 2**n
    tie = max(TIE * float(np.abs(differences).sum()), n * samples.resolution)
    least = abs(float(differences.sum())) - tie
    # Turning all signs round changes no absolute sum: the half with the first sign kept has the same shares.
    as_far = sum(int((np.abs(signs @ differences) >= least).sum()) for signs in _signs(n))
    if arrangements <= MOST_ARRANGEMENTS:
        return as_far / (arrangements / 2), 2 / arrangements
    return (as_far + 1) / (DRAWN + 1), 1 / (DRAWN + 1)


def relabel(samples: Samples) -> tuple[float, float]:
    """The p of a permutation test of two samples, and the smallest p that their sizes allow.

    If nothing differs, any of the pooled values might have come from either sample: p is twice the share of
    arrangements whose Welch t is at least as far out on the side measured. The difference is studentised because
    the test then keeps its level, in large samples, also where only the means agree and the variances do not
    (Janssen 1997); with samples of one size it is the test on the difference of means, of which t is a monotone
    function. Twice the smaller tail gives each direction half of the level, whatever the sizes.
    """
    first, second = samples.a, samples.b
    # One order of the two, so that the arrangements drawn, and with them p, do not depend on which comes first.
    if (len(second), first.mean()) < (len(first), second.mean()):
        first, second = second, first
    m, n = len(first), len(second)
    pooled = np.sort(np.concatenate([first, second]))
    middle = pooled.mean()
    centred = pooled - middle
    squared = centred**2
    total, total_squares = float(centred.sum()), float(squared.sum())

    def welch(sums: Floats, squares: Floats) -> tuple[Floats, Floats]:
        """t and standard error where the first sample has these sums of values and of squares."""
        variance = _floored(sums, squares, m, samples.least_sd) / m
        variance = variance + _floored(total - sums, total_squares - squares, n, samples.least_sd) / n
        error = np.sqrt(variance)
        return (sums / m - (total - sums) / n) / error, error

    if samples.step == 0:
        return 1.0, _smallest(m, n)
    measured, error = (float(value) for value in welch((first - middle).sum(), ((first - middle) ** 2).sum()))
    tie = (1 + abs(measured)) * max(TIE, samples.resolution / error)
    above = below = 0
    for labels in _labels(m, n):
        drawn, _ = welch(labels @ centred, labels @ squared)
        above += int((drawn >= measured - tie).sum())
        below += int((drawn <= measured + tie).sum())
    fewer = min(above, below)
    arrangements = math.comb(m + n, m)
    share = fewer / arrangements if arrangements <= MOST_ARRANGEMENTS else (fewer + 1) / (DRAWN + 1)
    return min(1.0, 2 * share), _smallest(m, n)


def _smallest(m: int, n: int) -> float:
    arrangements = math.comb(m + n, m)
    return 2 / (arrangements if arrangements <= MOST_ARRANGEMENTS else DRAWN + 1)


def _floored(sums: Floats, squares: Floats, n: int, least_sd: float) -> Floats:
    """Sample variances from sums over n values, no less than the grid of the values allows."""
    return np.maximum((squares - sums**2 / n) / (n - 1), least_sd**2)


def _signs(n: int) -> Iterator[Floats]:
    """Ways to set n signs as matrices [ways, n] of 1 and -1: half of all, the first sign kept; or those drawn."""
    if 2**n <= MOST_ARRANGEMENTS or n * DRAWN <= KEPT:
        yield _kept_signs(n)
    else:
        yield from _drawn_signs(n)


@lru_cache(maxsize=8)
def _kept_signs(n: int) -> Floats:
    if 2**n <= MOST_ARRANGEMENTS:
        return np.array([(1.0, *rest) for rest in itertools.product((1.0, -1.0), repeat=n - 1)])
    return np.concatenate(list(_drawn_signs(n)))


def _drawn_signs(n: int) -> Iterator[Floats]:
    generator = np.random.default_rng(0)
    for rows in _pieces(n):
        yield generator.choice(np.array([1.0, -1.0]), size=(rows, n))


def _labels(m: int, n: int) -> Iterator[Floats]:
    """Ways to choose m of m + n values as matrices [ways, m + n], 1 where chosen: all, or those drawn."""
    if math.comb(m + n, m) <= MOST_ARRANGEMENTS or (m + n) * DRAWN <= KEPT:
        yield _kept_labels(m, n)
    else:
        yield from _drawn_labels(m, n)


@lru_cache(maxsize=8)
def _kept_labels(m: int, n: int) -> Floats:
    if math.comb(m + n, m) > MOST_ARRANGEMENTS:
        return np.concatenate(list(_drawn_labels(m, n)))
    chosen = np.array(list(itertools.combinations(range(m + n), m)))
    labels = np.zeros((len(chosen), m + n))
    np.put_along_axis(labels, chosen, 1.0, axis=1)
    return labels


def _drawn_labels(m: int, n: int) -> Iterator[Floats]:
    generator = np.random.default_rng(0)
    for rows in _pieces(m + n):
        order = generator.random((rows, m + n)).argsort(axis=1)
        yield (order < m).astype(np.float64)


def _pieces(width: int) -> Iterator[int]:
    """Numbers of rows that add up to DRAWN, each a matrix of at most KEPT entries."""
    rows = max(1, KEPT // width)
    yield from (min(rows, DRAWN - start) for start in range(0, DRAWN, rows))
