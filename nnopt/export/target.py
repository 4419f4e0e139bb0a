"""What every target of an export has."""

from __future__ import annotations

import importlib.util
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from nnopt.errors import ExportError, NnoptError, UsageError
from nnopt.export.agreement import Agreement
from nnopt.export.silence import silence
from nnopt.export.subject import Subject

COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal
Result = TypeVar("Result")


class Target(ABC):
    """A format that a network goes out to.

    Attributes:
        name: as `--to` takes it.
        file: what the export is called within its folder; "" where the folder is the export.
        modules: what has to be importable, all of the extra `nnopt[name]`.
        packages: whose versions are noted.
    """

    name: ClassVar[str]
    file: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    batch: ClassVar[int | str] = "batch"  # how many samples it takes at once

    def check_installed(self) -> None:
        """Raises UsageError, with what to install, where this target cannot be made here; imports nothing."""
        if any(importlib.util.find_spec(module) is None for module in self.modules):
            raise UsageError(f"--to {self.name}: it is not installed here: pip install 'nnopt[{self.name}]'")

    def check(self, subject: Subject) -> None:
        """Raises UsageError where this network cannot go there, before any work."""

    @abstractmethod
    def write(self, subject: Subject, folder: Path) -> None:
        """Writes the export into a new folder.

        Raises:
            ExportError: the library refuses.
            DiskError: the disk does.
        """

    @abstractmethod
    def open(self, subject: Subject, folder: Path) -> Callable[[Tensor], Tensor]:
        """Loads what was written: [n, *input_shape] float32 or int64 -> outputs such as torch gives."""

    @abstractmethod
    def judge(self, subject: Subject, agreement: Agreement) -> None:
        """Raises ExportError where an export that agrees so far is not to be trusted."""

    @abstractmethod
    def asked(self) -> dict[str, Any]:
        """What was asked for beyond torch, and what was allowed, for the record."""

    def details(self) -> dict[str, Any]:
        """What else was found, for the record."""
        return {}

    def finish(self, folder: Path, place: Path) -> None:
        """Takes out of the folder what is of no use once it lies in its `place`."""

    def versions(self) -> dict[str, str]:
        """Of the libraries that made it."""
        return {name: metadata.version(name) for name in self.packages}


@dataclass(frozen=True)
class FloatTarget(Target):
    """A target that computes in fp32 as torch does.

    Attributes:
        tolerance: how far an output may lie from torch's, as a share of the largest output (of 1 where that is less).
    """

    tolerance: float = 1e-4

    def judge(self, subject: Subject, agreement: Agreement) -> None:
        """As the base class says."""
        allowed = self.tolerance * max(1.0, agreement.largest_output)
        if not agreement.largest_difference <= allowed:
            raise ExportError(
                f"the {self.name} export and torch disagree on the test data: the largest difference of two outputs is "
                f"{agreement.largest_difference:.3g}, and {allowed:.3g} is allowed; nothing was kept "
                "(--tolerance allows more)"
            )

    def asked(self) -> dict[str, Any]:
        """As the base class says."""
        return {"tolerance": self.tolerance}


def called(name: str, work: Callable[[], Result]) -> Result:
    """What `work` gives, which calls a library; in silence, its errors told in one line.

    Raises:
        ExportError: the library gave up.
    """
    try:
        with silence():
            return work()
    except (NnoptError, OSError):
        raise
    except Exception as error:  # converters raise whatever they stumble over
        raise ExportError(f"{name} gave up on this network: {_root(error)} (`nnopt --debug` shows all)") from error


def _root(error: BaseException) -> str:
    """The first line of what an error began with: exporters wrap it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in COLOURS.sub("", str(error)).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
