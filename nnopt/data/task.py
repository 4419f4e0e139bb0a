"""What a data set asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# classification: one class a sample. regression: numbers. multilabel: any number of classes a sample, yes or no each.
# language: the next token at every place. multitask: several questions of the first two kinds about one sample.
# function: no samples; the place where a function is smallest.
Task = Literal["classification", "regression", "multilabel", "language", "multitask", "function"]


@dataclass(frozen=True)
class Question:
    """One of several things that are asked about a sample: its name, and its classes (() for a number)."""

    name: str
    classes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """Classification or regression."""
        return "classification" if self.classes else "regression"

    @property
    def outputs(self) -> int:
        """How many outputs of a model answer it."""
        return len(self.classes) or 1
