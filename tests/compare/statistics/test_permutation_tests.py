"""Permutation tests against scipy and against slow twins that write every arrangement out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nnopt.compare.statistics import permutation
from nnopt.compare.statistics.difference import Difference, difference


def compared(a: Sequence[float], b: Sequence[float], paired: bool) -> Difference:
    first = 0 if paired else len(a)
    return difference(dict(enumerate(map(float, a))), {first + seed: float(value) for seed, value in enumerate(b)})


def welch(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    error = np.sqrt(a.var(ddof=1, axis=axis) / a.shape[axis] + b.var(ddof=1, axis=axis) / b.shape[axis])
    return np.asarray((a.mean(axis=axis) - b.mean(axis=axis)) / error)


@pytest.mark.parametrize("n", [3, 4, 7, 10, 13])
@pytest.mark.parametrize("seed", range(3))
def test_flipped_signs_against_scipy(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(0.5, size=n), generator.normal(size=n)
    expected = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    found = compared(a, b, paired=True)
    assert found.permutation_p == pytest.approx(expected.pvalue)
    assert found.smallest_p == 2 / 2**n


@pytest.mark.parametrize(("m", "n"), [(3, 3), (3, 6), (5, 4), (5, 5), (6, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_relabelling_against_scipy(m: int, n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(0.7, 3, size=m), generator.normal(size=n)
    expected = stats.permutation_test((a, b), welch, vectorized=True, n_resamples=np.inf)
    found = compared(a, b, paired=False)
    assert found.permutation_p == pytest.approx(expected.pvalue)
    assert found.smallest_p == 2 / math.comb(m + n, m)


def slow_flips(differences: Sequence[int]) -> float:
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= abs(sum(differences)) for total in sums) / len(sums)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(20))
def test_arrangements_that_tie_are_all_counted(seed: int, kind: type) -> None:
    """Shares of 360 are no exact floats, but their ties are those of the counts; so for shares kept as float32."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(3, 9))
    a, b = generator.integers(340, 361, size=(2, n))
    found = compared((a / 360).astype(kind), (b / 360).astype(kind), paired=True)
    assert found.permutation_p == slow_flips((a - b).tolist())


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(20))
def test_relabellings_that_tie_are_all_counted(seed: int, kind: type) -> None:
    """With samples of one size, Welch's t orders arrangements as the difference of sums does: whole numbers here."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(3, 6))
    a, b = generator.integers(320, 361, size=(2, n))
    pooled = [*a.tolist(), *b.tolist()]
    sums = [sum(chosen) for chosen in itertools.combinations(pooled, n)]
    above, below = (sum(sign * total >= sign * int(a.sum()) for total in sums) for sign in (1, -1))
    found = compared((a / 360).astype(kind), (b / 360).astype(kind), paired=False)
    assert found.permutation_p == pytest.approx(min(1.0, 2 * min(above, below) / len(sums)))


def test_the_smallest_p_is_reached_by_the_clearest_difference() -> None:
    for n in (3, 5, 8):
        for paired in (True, False):
            found = compared([10 + place for place in range(n)], [place * 1.01 for place in range(n)], paired)
            assert found.permutation_p == found.smallest_p
    # Also with unequal sizes, whichever comes first.
    high, low = [10.0, 11.0, 12.5], [0.0, 1.0, 2.5, 3.5, 4.0]
    for a, b in ((high, low), (low, high)):
        found = compared(a, b, paired=False)
        assert found.permutation_p == found.smallest_p == 2 / 56


@pytest.mark.parametrize(("n", "paired"), [(15, True), (25, True), (10, False), (14, False)])
def test_beyond_all_arrangements_p_is_drawn_and_near_the_exact_one(n: int, paired: bool) -> None:
    generator = np.random.default_rng(n)
    a, b = generator.normal(0.6, size=n), generator.normal(size=n)
    found = compared(a, b, paired)
    assert found == compared(a, b, paired)
    assert found.permutation_p is not None
    # t is close to the permutation test for normal values; the draws leave a standard error of √(p(1-p)/9999).
    assert found.permutation_p == pytest.approx(found.p, abs=0.02)
    assert round(found.permutation_p * 10_000, 6) % (1 if paired else 2) == 0
    assert found.smallest_p == (1 if paired else 2) / 10_000


def test_drawn_p_never_is_zero() -> None:
    a, b = np.arange(20) + 1000.0, np.arange(20) * 1.1
    for paired in (True, False):
        found = compared(a, b, paired)
        assert found.permutation_p == found.smallest_p
        assert found.smallest_p is not None
        assert found.smallest_p > 0


@pytest.mark.parametrize("paired", [True, False])
def test_many_runs_are_drawn_piece_by_piece(monkeypatch: pytest.MonkeyPatch, paired: bool) -> None:
    """The pieces of one generator are the arrangements of a single matrix."""
    generator = np.random.default_rng(7)
    a, b = generator.normal(0.3, size=30), generator.normal(size=30)
    whole = compared(a, b, paired)
    monkeypatch.setattr(permutation, "KEPT", 5_000)
    assert compared(a, b, paired) == whole


def test_p_does_not_depend_on_which_sample_comes_first() -> None:
    generator = np.random.default_rng(3)
    for m, n in ((10, 10), (9, 12), (15, 15)):
        a, b = generator.normal(0.5, size=m), generator.normal(size=n)
        assert compared(a, b, paired=False).permutation_p == compared(b, a, paired=False).permutation_p


def test_the_page_says_the_smallest_p_that_is_reported() -> None:
    page = (Path(__file__).parents[3] / "docs" / "statistics.md").read_text(encoding="utf-8")
    for line, paired in (("| paired: n pairs |", True), ("| not paired: n against n |", False)):
        cells = next(text for text in page.splitlines() if text.startswith(line)).split("|")[2:-1]
        for n, cell in zip(range(3, 11), cells, strict=True):
            smallest = compared(range(n), [place**2 for place in range(n)], paired).smallest_p
            assert float(cell) == pytest.approx(smallest, rel=5e-3)
