"""What a run left in its folder, read back: the summary at once, the curves when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.errors import RunsFolderError
from nnopt.store.json_file import read_json

if TYPE_CHECKING:
    import pandas

SPEC = "spec.yaml"
SUMMARY = "summary.json"
METRICS = "metrics.csv"
STEPS = "steps.csv"
STRUCTURE = "structure.csv"
LAYERS = "layers.csv"
TRAJECTORY = "trajectory.csv"
SUMMARY_SCHEMA = 1
FINISHED = ("done", "diverged", "pruned")  # the statuses of runs with which nothing is left to do

# All that cells and separators are made of: numbers, also nan and inf.
_NUMBERS = re.compile(r"[0-9eE+\-.,naifINF\n]*")


class Columns(Mapping[str, list[float | None]]):
    """A table of numbers by column, None for an empty cell; cells become numbers when their column is asked for.

    Of the thirteen columns of metrics.csv a comparison of a thousand runs needs five.
    """

    def __init__(self, cells: Mapping[str, Sequence[str]], path: Path) -> None:
        self._cells = cells
        self._path = path
        self._read: dict[str, list[float | None]] = {}

    def __getitem__(self, name: str) -> list[float | None]:
        if name not in self._read:
            try:
                self._read[name] = _numbers(self._cells[name])
            except ValueError as error:
                raise RunsFolderError(f"{self._path} is damaged: {error}") from None
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]


# A trial's folder may carry a suffix of its hash: trial-3-1a2b3c.
_TRIAL = re.compile(r"trial-(\d+)(?:-.*)?")


@dataclass(frozen=True)
class RunRecord:
    """One run: `summary` is summary.json whole, the other fields are what runs are found and grouped by.

    `status` is running, done, diverged, interrupted, failed or pruned, as the summary says; whether a run
    that says `running` still does is for the caller to find out.
    """

    folder: Path
    experiment: str
    variant: str
    trial: int | None
    seed: int
    status: str
    summary: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """The run in `folder`.

        Raises:
            RunsFolderError: no run lies there, its summary is damaged, or a newer nnopt wrote it.
        """
        path = folder / SUMMARY
        missing = f"holds no run: it has no {SUMMARY}"
        summary = read_json(path, SUMMARY_SCHEMA, missing, "set the folder aside and train again")
        try:
            return cls(
                folder=folder,
                experiment=str(summary["experiment"]),
                variant=str(summary["variant"]),
                trial=_trial(folder, summary),
                seed=int(summary["seed"]),
                status=str(summary["status"]),
                summary=summary,
            )
        except KeyError as error:
            raise RunsFolderError(f"{path} has no key {error}: it is no summary of a run") from None
        except (TypeError, ValueError) as error:
            raise RunsFolderError(f"{path} is no summary of a run: {error}") from None

    @property
    def name(self) -> str:
        """experiment/variant[/trial-n]/seed-k, as the folders are named before any suffix."""
        trial = [] if self.trial is None else [f"trial-{self.trial}"]
        return "/".join([self.experiment, self.variant, *trial, f"seed-{self.seed}"])

    @property
    def spec_hash(self) -> str:
        """The hash of the run's spec without its seed; empty where the summary has none."""
        return str(self.summary.get("spec_hash") or "")

    def curve(self) -> Columns:
        """metrics.csv by column, one value an evaluation: None for an empty cell; {} before the first row.

        A last row that is cut short is dropped. The file is read once.

        Raises:
            RunsFolderError: the file cannot be read, or a row before the last is damaged.
        """
        return self._curve

    def steps(self) -> Columns:
        """steps.csv by column, one value a logged step; as `curve`."""
        return self._steps

    def frame(self) -> pandas.DataFrame:
        """metrics.csv as a pandas table, one row an evaluation.

        Raises:
            RunsFolderError: as `curve`.
        """
        import pandas

        return pandas.DataFrame(dict(self.curve()))

    @cached_property
    def derived(self) -> dict[str, object]:
        """Room for what is computed from the curves once; empty at first."""
        return {}

    @cached_property
    def _curve(self) -> Columns:
        return read_columns(self.folder / METRICS)

    @cached_property
    def _steps(self) -> Columns:
        return read_columns(self.folder / STEPS)


def read_columns(path: Path) -> Columns:
    """A CSV file of numbers by column; none where the file is absent or has no whole header.

    A line is whole when it ends in a line break, has as many cells as the header and every cell is a number
    or empty. A last line that is not whole was being written when its program ended: it is dropped.

    Raises:
        RunsFolderError: the file cannot be read, or a line before the last is not whole.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return Columns({}, path)
    except OSError as error:
        raise RunsFolderError(f"cannot read {path}: {error.strerror}") from None
    # The cells are numbers, never quoted: splitting takes half the time of csv.reader.
    lines = text[: text.rfind("\n") + 1].splitlines()
    header, *rows = [line.split(",") for line in lines] or [[]]
    if rows and not _is_whole(rows[-1], len(header)):
        rows.pop()
    width = len(header)
    uneven = next((number for number, row in enumerate(rows, 2) if len(row) != width), None)
    if uneven is not None:
        raise RunsFolderError(f"{path} is damaged: line {uneven} has other columns than the header")
    for number, line in _body(lines, rows):
        if not _NUMBERS.fullmatch(line):
            raise RunsFolderError(f"{path} is damaged: line {number} holds what is no number ({line[:40]!r})")
    columns: Iterable[Sequence[str]] = zip(*rows, strict=True) if rows else [()] * width
    return Columns(dict(zip(header, columns, strict=True)), path)


def _body(lines: Sequence[str], rows: Sequence[object]) -> Iterable[tuple[int, str]]:
    """Number and text of the lines below the header: all in one where nothing is wrong with them."""
    body = lines[1 : 1 + len(rows)]
    whole = "\n".join(body)
    return () if _NUMBERS.fullmatch(whole) else enumerate(body, 2)


def _numbers(cells: Sequence[str]) -> list[float | None]:
    try:
        return list(map(float, cells))
    except ValueError:
        return [float(cell) if cell else None for cell in cells]


def _is_whole(row: list[str], width: int) -> bool:
    try:
        return len(_numbers(row)) == width
    except ValueError:
        return False


def _trial(folder: Path, summary: dict[str, Any]) -> int | None:
    """The trial's number from the summary, or where that has no such key from the folder above the seed's."""
    if "trial" in summary:
        return None if summary["trial"] is None else int(summary["trial"])
    named = _TRIAL.fullmatch(folder.parent.name)
    return int(named[1]) if named and folder.parent.name != summary["variant"] else None
