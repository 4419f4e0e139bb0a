"""Lists of numbers as the page holds them: short, and each of them once."""

from __future__ import annotations

import math
from collections.abc import Iterable

DIGITS = 6


class Lists:
    """Lists of numbers, each kept once: seeds share their steps."""

    def __init__(self) -> None:
        self._places: dict[tuple[float | None, ...], int] = {}

    def add(self, values: Iterable[float | None]) -> int:
        """The place of the list among all; numbers have six digits, NaN and infinity are None."""
        return self._places.setdefault(tuple(map(shorten, values)), len(self._places))

    @property
    def all(self) -> list[list[float | None]]:
        """The lists in the order of their places."""
        return [list(values) for values in self._places]


def shorten(value: float | None) -> float | None:
    """With six digits; whole numbers as they are; None for NaN and infinity."""
    if value is None or not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return float(f"{value:.{DIGITS}g}")
