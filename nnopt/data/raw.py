"""A data set as its source gives it: numpy arrays, nothing split or scaled yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnopt.data.task import Question, Task

if TYPE_CHECKING:
    from nnopt.data.layout import Layout
    from nnopt.data.reading import Reader

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Raw:
    """The content of a source.

    Attributes:
        inputs: [n, features] float64, or [n, channels, height, width] uint8; a reader where such rows lie elsewhere.
        targets: [n] int64 class numbers, or [n, d] float64: numbers in their own units, 0 or 1 for each of d labels,
            or for each of d questions its number or class number.
        classes: the names of classes or labels; () for numbers and for several questions.
        content_hash: SHA-256 of what was read.
        largest: the largest value that an input can take (255 for bytes); None where there is no such bound.
        test_inputs: the official test part, shaped as `inputs`; None where a source has none.
        test_targets: its targets.
        questions: what the columns of targets answer, where there are several questions.
        stated_task: what the targets ask for, where classes and questions do not tell.
        layout: how a new file is read into such inputs; None where none can be.
        fit: makes this content whole once it is known which rows [m] are for training: for what is to be learnt from
            those alone (values for gaps, categories). What it gives has no `fit`, and the same rows and targets.
        notes: what a user should know of how the data was read, in sentences.
        workers: how many threads read rows ahead of need, where a reader gives them.
        times: [n] numbers that grow with time, where the parts are to follow each other in it.
        groups: [n] int64 group numbers from 0, where every group is to be whole in one part.
        validation_rows: [m] int64 the rows that the source itself holds as its validation part; None where it has none.
        unscaled: [features] whether an input is left as it is by every normalisation (zeros and ones of categories);
            None where all are scaled.
    """

    inputs: Array | Reader
    targets: Array
    classes: tuple[str, ...]
    content_hash: str
    largest: float | None = None
    test_inputs: Array | Reader | None = None
    test_targets: Array | None = None
    questions: tuple[Question, ...] = ()
    stated_task: Task | None = None
    layout: Layout | None = None
    fit: Callable[[Array], Raw] | None = None
    notes: tuple[str, ...] = ()
    workers: int = 2
    times: Array | None = None
    groups: Array | None = None
    validation_rows: Array | None = None
    unscaled: Array | None = None

    @property
    def task(self) -> Task:
        """What the targets ask for."""
        if self.stated_task is not None:
            return self.stated_task
        if self.questions:
            return "multitask"
        return "classification" if self.classes else "regression"


def digest(content: bytes | Array) -> str:
    """SHA-256 of the bytes of `content`, as hexadecimal digits."""
    # [n] bytes in the order of the elements, without a copy where they lie so already
    buffer = np.ascontiguousarray(content).data if isinstance(content, np.ndarray) else content
    return hashlib.sha256(buffer).hexdigest()


def joined_digest(digests: Iterable[str]) -> str:
    """SHA-256 over the digests of several files, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
