"""Training time beside each peer: nnopt and the peer in turns, each in a fresh process."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from job import BenchError, Outcome, train_nnopt, train_peer
from peers import PEERS


@dataclass
class Pairs:
    """The pairs of one optimizer, thread count and peer."""

    optimizer: str
    peer: str
    rows: int  # training rows of an epoch
    ours: list[Outcome] = field(default_factory=list)
    theirs: list[Outcome] = field(default_factory=list)
    failure: str | None = None

    @property
    def threads(self) -> int:
        """The count that both sides took."""
        return self.ours[0].threads

    @property
    def ratios(self) -> list[float]:
        """Nnopt's median epoch by the peer's, pair by pair."""
        return [our.epoch_seconds / their.epoch_seconds for our, their in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def goal(self) -> float | None:
        """The largest median ratio allowed, where there is a goal."""
        return PEERS[self.peer].goal

    def microseconds(self, outcomes: list[Outcome]) -> float:
        """Training time a sample, median of the pairs."""
        return statistics.median(outcome.epoch_seconds for outcome in outcomes) / self.rows * 1e6


def measure(peer: str, optimizer: str, rows: Path, count: int, pairs: int, epochs: int, threads: int) -> Pairs:
    """Runs nnopt, peer, nnopt, peer, ...; the peer gets the thread count that nnopt took.

    A peer that fails ends its pairs; nnopt's own failure is raised as BenchError.
    """
    found = Pairs(optimizer, peer, count)
    for number in range(pairs):
        (ours,) = train_nnopt(optimizer, epochs, threads)
        try:
            theirs = train_peer(peer, rows, optimizer, epochs, ours.threads)
        except BenchError as error:
            found.failure = str(error)
            found.ours.append(ours)
            break
        found.ours.append(ours)
        found.theirs.append(theirs)
        print(
            f"{optimizer}, {ours.threads} threads, {peer}, pair {number + 1} of {pairs}: "
            f"{ours.epoch_seconds:.3f} s by {theirs.epoch_seconds:.3f} s an epoch = {found.ratios[-1]:.2f}",
            file=sys.stderr,
            flush=True,
        )
    return found


@dataclass(frozen=True)
class Accuracies:
    """Accuracy on the test rows at the end, one a seed, of nnopt and of the bare loop."""

    optimizer: str
    epochs: int
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Mean of nnopt's minus mean of the bare loop's."""
        return statistics.fmean(self.ours) - statistics.fmean(self.theirs)

    @property
    def within_spread(self) -> bool:
        """Whether the difference is no larger than the bare loop's standard deviation over its seeds."""
        return abs(self.difference) <= statistics.stdev(self.theirs)


def measure_accuracy(optimizer: str, rows: Path, epochs: int, seeds: int) -> Accuracies:
    """Trains both with several seeds, all on one thread count."""
    ours = train_nnopt(optimizer, epochs, 1, seeds)
    train: Callable[..., Outcome] = partial(train_peer, "bare", rows, optimizer, epochs, 1)
    theirs = [train(seed) for seed in range(seeds)]
    return Accuracies(
        optimizer,
        epochs,
        tuple(outcome.test_accuracy for outcome in ours),
        tuple(outcome.test_accuracy for outcome in theirs),
    )
