"""Which batches fit into memory, and how fast each is: doubled until one does not, then halved in on the largest."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from nnopt.errors import DataError
from nnopt.plan import RunSpec
from nnopt.search.steps import Steps
from nnopt.search.tune.memory import available_memory, resident_memory
from nnopt.spec.experiment import RunSettings
from nnopt.train.memory import PeakMemory
from nnopt.train.setup import DataCache, build
from nnopt.train.signals import StopRequest
from nnopt.train.teachers import build_with_teachers

NEAR_BEST = 0.95  # of the best throughput
ROOM = 0.85  # of the memory that is free may be taken: a prediction is none to the byte
LONGEST = 10.0  # seconds that an update may take
STRETCH = 0.08  # seconds of updates a repeat
FINENESS = 16  # the largest that fits is found to within this part of it
# How torch's allocators say that memory is at an end, besides OutOfMemoryError.
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")

End = Literal["data", "memory", "time"]


@dataclass(frozen=True)
class Timed:
    """A batch that fits: samples a second (median, lowest and highest of the repeats), and the memory it takes.

    `memory` is the peak of an update: of the device's allocator on an accelerator, else of the whole process.
    """

    size: int
    samples_per_second: float
    lowest: float
    highest: float
    memory: int
    threads: int

    @property
    def update_seconds(self) -> float:
        """Seconds of an update (of one pass, where a line search takes several)."""
        return self.size / self.samples_per_second


@dataclass(frozen=True)
class BatchSizes:
    """What was found for a variant. `left_out` says why nothing was.

    `largest` fits; `too_large` is the smallest known not to, None where the training data ended first (`end`), or
    where updates became too long. `unfit`: sizes that the model cannot be trained with, and why.
    """

    variant: str
    samples: int
    device: str
    batch_size: str = ""  # what the spec has
    timed: tuple[Timed, ...] = ()
    are_passes: bool = False  # the times are those of a pass: an update takes as many as a line search needs
    largest: int = 0
    too_large: int | None = None
    end: End = "data"
    unfit: tuple[tuple[int, str], ...] = ()
    left_out: str | None = None

    @property
    def fastest(self) -> Timed | None:
        """The batch of the best throughput."""
        return max(self.timed, key=lambda one: one.samples_per_second, default=None)

    @property
    def enough(self) -> Timed | None:
        """The smallest batch whose throughput is within 5 % of the best."""
        if self.fastest is None:
            return None
        least = NEAR_BEST * self.fastest.samples_per_second
        return next(one for one in self.timed if one.samples_per_second >= least)


@dataclass
class _Search:
    """The search for one variant: what a batch needed, and so what a larger one will."""

    run: RunSpec
    cache: DataCache
    repeats: int
    stop: StopRequest
    available: Callable[[], int]
    base: int  # bytes held before the first size
    need: float = 0.0  # bytes a sample above `base`, of the last size that was tried on a CPU
    seconds: float = 0.0  # a sample

    def steps(self, size: int) -> Steps:
        """A run with this batch, built as it would be trained: `threads: auto` looks at the size."""
        settings = self.run.settings
        strategy = settings.strategy.model_copy(update={"batch_size": size})
        run = replace(self.run, settings=settings.model_copy(update={"strategy": strategy}))
        return Steps(*build_with_teachers(run, self.cache))

    def is_too_large(self, size: int, on_cpu: bool) -> bool:
        """Whether the batch is predicted not to fit: on a CPU the system would swap or kill before it says no.

        What this process has taken since the first size, and may use again, counts as free.
        """
        free = self.available() + max(0, resident_memory() - self.base)
        return on_cpu and self.need * size > ROOM * free

    def is_too_long(self, size: int) -> bool:
        """Whether an update is predicted to take longer than one waits for."""
        return self.seconds * size > LONGEST

    def attempt(self, size: int, is_timed: bool) -> Timed | None:
        """One size, None where it does not fit.

        Raises:
            DataError: the model cannot be trained with it.
        """
        self.stop.raise_if_set()
        try:
            return self._measure(size, self.repeats if is_timed else 1)
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not _is_out_of_memory(error):
                raise
        gc.collect()  # the error held what the update had taken
        if torch.accelerator.is_available():
            torch.accelerator.memory.empty_cache()
        return None

    def works(self, size: int, on_cpu: bool) -> bool | None:
        """Whether a batch fits; None where the model cannot be trained with it, so that it is not known."""
        try:
            return not self.is_too_large(size, on_cpu) and self.attempt(size, is_timed=False) is not None
        except DataError:
            return None

    def _measure(self, size: int, repeats: int) -> Timed:
        steps = self.steps(size)
        device = steps.setup.device
        peak = PeakMemory(device)
        count, one = steps.count_for(size, STRETCH if repeats > 1 else 0.0)
        rates = []
        for _ in range(repeats):
            self.stop.raise_if_set()
            before = steps.passes
            seconds = steps.seconds(size, count) if repeats > 1 else one
            rates.append(max(1, steps.passes - before) * size / seconds)
        memory = peak.read()
        if device.type == "cpu":
            self.need = max(0, memory - self.base) / size
        self.seconds = one / size
        return Timed(size, statistics.median(rates), min(rates), max(rates), memory, steps.setup.threads)


def unsuited(settings: RunSettings) -> str | None:
    """Why there is no batch to choose for these settings, or None."""
    if settings.optimizer.inner.needs_full_batch:
        return (
            f"optimizer {settings.optimizer.kind} follows the gradient of the whole training set: "
            "there is no batch to choose"
        )
    return None


def find_sizes(
    run: RunSpec,
    cache: DataCache,
    stop: StopRequest,
    least: int = 8,
    repeats: int = 5,
    tick: Callable[[int], None] = lambda size: None,
    available: Callable[[], int] = available_memory,
) -> BatchSizes:
    """Doubles the batch from `least` on until memory or the training data end, timing updates of each size.

    On an accelerator a batch does not fit where its allocator says so. On a CPU that is predicted from what smaller
    batches took, so that nothing swaps: a batch fits while it would take less than 0.85 of the `available` bytes.
    The last size is the whole training set where it fits. `tick` hears each size before it is tried.

    Raises:
        UsageError: the settings do not fit together.
        Interrupted: a signal came.
    """
    setup, _ = build(run, cache)
    samples, on_cpu = len(setup.data.train), setup.device.type == "cpu"
    passes = run.settings.optimizer.evaluations_vary
    nothing = BatchSizes(run.variant, samples, str(setup.device), are_passes=passes)
    reason = unsuited(run.settings)
    if reason is not None:
        return replace(nothing, left_out=reason)
    search = _Search(run, cache, repeats, stop, available, resident_memory())
    timed: list[Timed] = []
    unfit: list[tuple[int, str]] = []
    end: End = "data"
    too_large = None
    for size in _doublings(max(least, run.settings.strategy.accumulate), samples):
        tick(size)
        if search.is_too_large(size, on_cpu):
            end, too_large = "memory", size
            break
        if search.is_too_long(size):
            end = "time"
            break
        try:
            found = search.attempt(size, is_timed=True)
        except DataError as error:
            unfit.append((size, str(error)))
            continue
        if found is None:
            end, too_large = "memory", size
            break
        timed.append(found)
    largest = timed[-1].size if timed else 0
    if too_large is not None and timed:
        largest, too_large = _halve_in(search, largest, too_large, on_cpu, tick)
    return replace(nothing, timed=tuple(timed), largest=largest, too_large=too_large, end=end, unfit=tuple(unfit))


def _doublings(least: int, samples: int) -> list[int]:
    """Powers of two from the first that is `least` or more, below `samples`, and then all samples."""
    sizes, size = [], 1
    while size < samples:
        if size >= least:
            sizes.append(size)
        size *= 2
    return [*sizes, samples]


def _halve_in(search: _Search, fits: int, too_large: int, on_cpu: bool, tick: Callable[[int], None]) -> tuple[int, int]:
    """The largest size known to fit and the smallest known not to, a sixteenth apart at most."""
    while too_large - fits > max(1, fits // FINENESS):
        middle = (fits + too_large) // 2
        tick(middle)
        works = search.works(middle, on_cpu)
        if works is None:  # its neighbour leaves another end of the epoch
            middle += 1
            works = search.works(middle, on_cpu)
        if works is None:
            break
        fits, too_large = (middle, too_large) if works else (fits, middle)
    return fits, too_large


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in NO_MEMORY)
