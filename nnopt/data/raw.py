"""A data set as its source gives it: numpy arrays, nothing split or scaled yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Task = Literal["classification", "regression"]


@dataclass(frozen=True, eq=False)
class Raw:
    """The content of a source.

    Attributes:
        inputs: [n, features] float64, or [n, channels, height, width] uint8.
        targets: [n] int64 class numbers, or [n, d] float64 in their own units.
        classes: the class names; () for real-valued targets.
        content_hash: SHA-256 of what was read.
        largest: the largest value that an input can take (255 for bytes); None where there is no such bound.
        test_inputs: the official test part, shaped as `inputs`; None where a source has none.
        test_targets: its targets.
    """

    inputs: Array
    targets: Array
    classes: tuple[str, ...]
    content_hash: str
    largest: float | None = None
    test_inputs: Array | None = None
    test_targets: Array | None = None

    @property
    def task(self) -> Task:
        """What the targets ask for."""
        return "classification" if self.classes else "regression"


def digest(content: bytes | Array) -> str:
    """SHA-256 of the bytes of `content`, as hexadecimal digits."""
    # [n] bytes in the order of the elements, without a copy where they lie so already
    buffer = np.ascontiguousarray(content).data if isinstance(content, np.ndarray) else content
    return hashlib.sha256(buffer).hexdigest()


def joined_digest(digests: Iterable[str]) -> str:
    """SHA-256 over the digests of several files, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
