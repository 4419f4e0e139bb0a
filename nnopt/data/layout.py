"""How the rows of a source are made, so that new files of the same kind can be read into such rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from nnopt.data.raw import Array


@dataclass(frozen=True, eq=False)
class NewRows:
    """Samples that were read from a file without their targets.

    Attributes:
        inputs: [n, *input_shape], before any scaling; int64 for tokens.
        labels: [n], what names each in an answer: a row number, a file name.
        label_name: the column that holds them: "row", "file", ...
    """

    inputs: Array
    labels: Sequence[str | int]
    label_name: str = "row"


class Layout(ABC):
    """What a source knows of its rows: names of columns, categories, sizes of images, tokens. Plain values only."""

    kind: ClassVar[str]

    @abstractmethod
    def read(self, path: Path) -> NewRows:
        """The samples in a file or folder, made as those of the training data were.

        Raises:
            DataError: it is missing, or holds something else than the training data did, in words.
        """

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Plain values for JSON."""

    @classmethod
    @abstractmethod
    def restore(cls, record: dict[str, Any]) -> Self:
        """The layout whose `record` this is."""
