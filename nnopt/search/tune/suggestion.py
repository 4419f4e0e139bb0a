"""What range tests over seeds say of a variant's learning rate, in numbers and sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nnopt.compare.text import grouped
from nnopt.search.tune.range_test import Range, RangeTest

BELOW = 10.0  # times that a search may go below the suggestion, and above it where nothing blew up
APART = 3.0  # times between two seeds from which their median is not to be leant on

CAVEAT = (
    "a range test sees each rate for a moment: it tells rates at which the loss falls at once from those at which it "
    "does not, not which one ends best after the whole budget, under a decay, or on unseen data; "
    "`nnopt sweep` over the range to search finds that out"
)


@dataclass(frozen=True)
class OverSeeds:
    """A rate's median over seeds (in the logarithm), its lowest and its highest."""

    median: float
    lowest: float
    highest: float
    count: int

    @classmethod
    def of(cls, rates: Sequence[float | None]) -> OverSeeds | None:
        """Over the seeds that have a rate; None where fewer than half of them do."""
        known = [rate for rate in rates if rate is not None]
        if not known or 2 * len(known) < len(rates):
            return None
        median = 10 ** statistics.median(math.log10(rate) for rate in known)
        return cls(median, min(known), max(known), len(known))

    @property
    def text(self) -> str:
        """`0.011 (0.0094 to 0.012)`; a single one alone."""
        if self.count == 1:
            return show_rate(self.median)
        return f"{show_rate(self.median)} ({show_rate(self.lowest)} to {show_rate(self.highest)})"


@dataclass(frozen=True)
class Suggestion:
    """A variant's tests over its seeds. `left_out` says why there are none."""

    variant: str
    key: str  # where the spec has its rate
    lr: float  # what the spec has
    rates: Range
    tests: tuple[RangeTest, ...]
    left_out: str | None = None
    full_batch: int | None = None  # samples of each update, where that is all of them

    @property
    def steepest(self) -> OverSeeds | None:
        """Where the loss falls fastest: the rate to begin with."""
        return OverSeeds.of([test.reading.steepest for test in self.tests])

    @property
    def lowest(self) -> OverSeeds | None:
        """Where the smoothed loss is lowest."""
        return OverSeeds.of([test.reading.lowest for test in self.tests])

    @property
    def too_high(self) -> OverSeeds | None:
        """From where on the loss is no better than at first, or not finite."""
        return OverSeeds.of([test.reading.too_high for test in self.tests])

    @property
    def search(self) -> tuple[float, float] | None:
        """The range to search, each end with one digit: from a tenth of the suggestion to where it is too high.

        Where nothing was too high it ends at ten times the suggestion, or at the lowest loss if that is higher.
        """
        if self.steepest is None or self.lowest is None:
            return None
        high = self.too_high.median if self.too_high else max(self.steepest.median * BELOW, self.lowest.median)
        return float(f"{self.steepest.median / BELOW:.0e}"), float(f"{high:.0e}")

    @property
    def remarks(self) -> tuple[str, ...]:
        """How sure it is, and what to do where it is not; nothing where there is nothing to say."""
        if self.left_out is not None:
            return (f"left out, as {self.left_out}",)
        unclear = sum(test.reading.steepest is None for test in self.tests)
        did_not = f"in {unclear} of {len(self.tests)} seeds the loss did not fall clearly"
        if self.steepest is None:
            tested = f"from {self.rates.low:g} to {self.rates.high:g}"
            return (f"no suggestion: {did_not} {tested}; try more --steps, a wider range, or a larger batch",)
        begin, said = self.steepest, [did_not] if unclear else []
        if begin.count > 1 and begin.highest > APART * begin.lowest:
            said.append(
                f"the seeds are a factor of {begin.highest / begin.lowest:.1f} apart, so the number is a rough one; "
                "more --steps or a larger batch steady it"
            )
        return (*said, *self._ends(), *self._own_rate(), *self._full_batch())

    def _ends(self) -> list[str]:
        """Where the loss falls fastest at an end of the tested rates."""
        found = {test.reading.edge for test in self.tests} - {None}
        wider = {"lower": f"--low {self.rates.low / 100:g}", "upper": f"--high {self.rates.high * 100:g}"}
        return [
            f"the loss falls fastest at the {end} end of what was tested; {wider[end]} looks beyond it"
            for end in ("lower", "upper")
            if end in found
        ]

    def _own_rate(self) -> list[str]:
        """Where the spec's rate is one that spoils the loss."""
        if self.too_high is None or self.lr < self.too_high.lowest:
            return []
        return [f"the spec's {self.lr:g} lies where the loss was no better than at first ({self.too_high.text})"]

    def _full_batch(self) -> list[str]:
        if self.full_batch is None:
            return []
        return [f"each of the {self.rates.steps} updates was a pass over all {self.full_batch:,} samples"]


def sentences(found: Sequence[Suggestion]) -> list[str]:
    """The remarks of all variants, those with the same one together, and what the test is not."""
    said = [*grouped([(one.variant, remark) for one in found for remark in one.remarks]), CAVEAT]
    if any(len(one.tests) == 1 for one in found):
        said.append("with one seed it is not known how far chance carries the rates: seeds=3 shows it")
    return said


def show_rate(rate: float) -> str:
    """Two digits: a test says no more."""
    return f"{float(f'{rate:.1e}'):g}"
