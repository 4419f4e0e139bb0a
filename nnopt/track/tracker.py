"""What a tool that follows runs is told, and what it has to offer."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nnopt.quiet import quiet

Plain = bool | int | float | str


@dataclass(frozen=True)
class Point:
    """What was measured at one step: numbers by name, as `val_loss` of metrics.csv and `steps/loss` of steps.csv."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Subject:
    """The run that is followed."""

    experiment: str
    variant: str
    seed: int
    tags: tuple[str, ...]
    notes: str
    settings: Mapping[str, Any]  # the resolved spec as nested mappings
    spec_hash: str
    folder: Path
    runs_dir: Path

    @property
    def name(self) -> str:
        """`variant/seed-n`."""
        return f"{self.variant}/seed-{self.seed}"

    def hyperparameters(self) -> dict[str, Plain]:
        """Variant, seed and the settings under dotted keys; a list is one value, written as JSON."""
        return {"variant": self.variant, "seed": self.seed, **flatten(self.settings)}


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `numbers` are test metrics and time to target, such as `final/test/best/accuracy`."""

    status: str
    reason: str
    step: int
    numbers: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Outcome:
        """Read off the content of summary.json."""
        numbers: dict[str, float] = {}
        for weights in ("last", "best"):
            tests = (summary.get("test") or {}).get(weights) or {}
            numbers |= _numbers(f"final/test/{weights}", tests)
        numbers |= _numbers("final/target", summary.get("target") or {})
        return cls(str(summary["status"]), str(summary["reason"] or ""), int(summary.get("steps") or 0), numbers)


class Tracker(ABC):
    """One tool that follows one run. Whatever goes wrong is raised: the caller switches it off."""

    modules: ClassVar[tuple[str, ...]]  # what has to be installed
    loggers: ClassVar[tuple[str, ...]] = ()  # that would write to the terminal
    environment: ClassVar[Mapping[str, str]] = {}  # set while the tool is called, where the user has not set them

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @abstractmethod
    def begin(self, run_id: str | None) -> str:
        """Opens the run in the tool, that of `run_id` where it began before, and returns its id there."""

    @abstractmethod
    def send(self, points: Sequence[Point]) -> None:
        """Passes on what was measured, in the order of the steps; it is stored when this returns."""

    @abstractmethod
    def end(self, outcome: Outcome) -> None:
        """Says how the run ended, and closes."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the run where it is; also after a failure."""

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """A block in which the tool writes nothing to the terminal and warns of nothing."""
        with quiet(self.loggers, self.environment):
            yield


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Plain]:
    """Nested mappings under dotted keys; lists become JSON, keys without a value are left out."""
    flat: dict[str, Plain] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat |= flatten(item, f"{name}.")
        elif isinstance(item, bool | int | float | str):
            flat[name] = item
        elif item is not None:
            flat[name] = json.dumps(item)
    return flat


def _numbers(prefix: str, values: Mapping[str, Any]) -> dict[str, float]:
    return {f"{prefix}/{name}": float(value) for name, value in values.items() if isinstance(value, bool | int | float)}
