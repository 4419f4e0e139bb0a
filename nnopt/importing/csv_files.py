"""Runs out of CSV files: one run a file, a long table of several, or the wide table that W&B exports.

A long table has a column for the run or the variant (`run`, `run_name`, `name`; `variant`, `method`, `algorithm`) or
the seed; W&B's wide one has columns called `RUN - METRIC`. Comma, semicolon and tab are told by the header.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nnopt.errors import RunsFolderError, UsageError
from nnopt.importing.columns import STEP, TIME, WALL, our_name
from nnopt.importing.source import SourceRun, as_number

VARIANT_COLUMNS = ("variant", "method", "algorithm")
RUN_COLUMNS = ("run", "run_name", "run_id", "name")
SEED_COLUMNS = ("seed", "random_seed")
SUFFIXES = (".csv", ".tsv", ".txt")
_WIDE = " - "
_BOUNDS = ("__MIN", "__MAX")
_LARGEST_STEP = 2**63
_UNIX_SECONDS = 1e8  # a `time` above this (1973) is a date, not a duration

Cells = Mapping[str, list[str]]


def csv_files(path: Path) -> list[Path]:
    """The CSV files at `path` or, where it is a folder, in it."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.glob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def read_csv_files(path: Path, renames: Mapping[str, str]) -> list[SourceRun]:
    """The runs of a file, or of all files of a folder.

    `renames` (theirs -> ours) say what counts as the step and as seconds, too.

    Raises:
        UsageError: no file, no step column, no rows, or a cell that is no number.
        RunsFolderError: a file cannot be read.
    """
    files = csv_files(path)
    if not files:
        raise UsageError(f"{path} holds no CSV files")
    return [run for file in files for run in _read_file(file, renames, many=len(files) > 1)]


def _read_file(path: Path, renames: Mapping[str, str], many: bool) -> list[SourceRun]:
    table = _read_table(path)
    meaning = {name: renames.get(name) or our_name(name) for name in table}
    step = _the_one(path, meaning, STEP)
    if step is None:
        named = ", ".join(list(table)[:20])
        raise UsageError(f"{path} has no column of steps: --rename COLUMN=step names it; there are {named}")
    wide = [name for name in table if _WIDE in name]
    others = [name for name in table if name != step and name not in wide]
    if wide and all(_is_time(meaning[name]) for name in others):
        return list(_wide_runs(path, table, step, wide))
    keys = _keys(table, renames)
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(zip(*(table[name] for name in keys.values()), strict=True) if keys else ()):
        groups.setdefault(key, []).append(row)
    if not keys:
        groups[()] = list(range(len(table[step])))
    runs = []
    for key, rows in groups.items():
        values = dict(zip(keys, (cell.strip() for cell in key), strict=True))
        name = "/".join(value for kind, value in values.items() if kind in ("variant", "run") and value)
        run = SourceRun(name or path.stem, f"{path.name}:{'/'.join(key)}" if many or key else "")
        run.hyperparameters.update({kind: values[kind] for kind in ("variant", "seed") if values.get(kind)})
        columns = {name: cells for name, cells in table.items() if name not in keys.values()}
        _fill(run, path, columns, rows, step, meaning)
        runs.append(run)
    return runs


def _read_table(path: Path) -> dict[str, list[str]]:
    """The cells of a file by column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            lines = [line for line in csv.reader(file, delimiter=delimiter, strict=True) if line]
    except OSError as error:
        raise RunsFolderError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8: it cannot be read as CSV") from None
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None
    if len(lines) < 2:
        raise UsageError(f"{path} is empty: it has no rows")
    header = [name.strip() for name in lines[0]]
    for place, name in enumerate(header):
        if header.index(name) != place:
            raise UsageError(f"{path} has two columns '{name}'")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise UsageError(f"{path}: row {number} has {len(line)} cells, and the header {len(header)}")
    table = dict(zip(header, map(list, zip(*lines[1:], strict=True)), strict=True))
    # A column without a name is the index that pandas writes.
    return {name: cells for name, cells in table.items() if name}


def _the_one(path: Path, meaning: Mapping[str, str], wanted: str) -> str | None:
    names = [name for name, ours in meaning.items() if ours == wanted]
    if len(names) > 1:
        raise UsageError(
            f"{path}: the columns '{names[0]}' and '{names[1]}' would both be {wanted}: "
            f"--rename '{names[1]}=NAME' tells them apart"
        )
    return names[0] if names else None


def _keys(table: Cells, renames: Mapping[str, str]) -> dict[str, str]:
    """Which columns tell the runs apart: `variant`, `run` and `seed`, as far as there are such."""
    lower = {name.lower().replace(" ", "_"): name for name in table if name not in renames}
    kinds = {"variant": VARIANT_COLUMNS, "run": RUN_COLUMNS, "seed": SEED_COLUMNS}
    found = {kind: next((lower[name] for name in names if name in lower), None) for kind, names in kinds.items()}
    return {kind: name for kind, name in found.items() if name is not None}


def _fill(run: SourceRun, path: Path, table: Cells, rows: Sequence[int], step: str, meaning: Mapping[str, str]) -> None:
    steps = [_step(path, table[step][row], row) for row in rows]
    for name, cells in table.items():
        if name == step:
            continue
        values = [as_number(cells[row]) for row in rows]
        if all(value is None or math.isnan(value) for value in values) and None in values:
            _take_text(run, name, {cells[row].strip() for row in rows} - {""})
            continue
        if None in values:
            row = rows[values.index(None)]
            raise UsageError(f"{path}: row {row + 2}: {name} is '{cells[row]}', which is no number")
        numbers = [value for value in values if value is not None]
        if meaning[name] == WALL or (meaning[name] == TIME and max(numbers, default=0.0) > _UNIX_SECONDS):
            known = [(at, wall) for at, wall in zip(steps, numbers, strict=True) if math.isfinite(wall)]
            run.set_times(known, min((wall for _, wall in known), default=0.0))
            continue
        for at, value, row in zip(steps, numbers, rows, strict=True):
            # An empty cell is no value; `nan` in a cell is one: the run diverged there.
            if not math.isnan(value) or cells[row].strip().lower() == "nan":
                run.add(name, at, value)


def _take_text(run: SourceRun, name: str, values: set[str]) -> None:
    """A column of words: a hyperparameter where it is the same in all rows of the run."""
    if len(values) == 1:
        run.hyperparameters.setdefault(name, values.pop())
    else:
        run.notes.append(f"{run.name}: the column '{name}' holds no numbers and is left out")


def _wide_runs(path: Path, table: Cells, step: str, wide: Sequence[str]) -> Iterator[SourceRun]:
    """W&B's export of a chart: a column a run and metric, and its smallest and largest value beside it."""
    runs: dict[str, dict[str, str]] = {}
    for name in wide:
        run, _, metric = name.rpartition(_WIDE)
        if not metric.endswith(_BOUNDS):
            runs.setdefault(run, {})[metric] = name
    for run, metrics in runs.items():
        found = SourceRun(run, f"{path.name}:{run}")
        cells = {metric: table[name] for metric, name in metrics.items()}
        rows = [row for row in range(len(table[step])) if any(column[row].strip() for column in cells.values())]
        own = {metric: our_name(metric) for metric in metrics}
        _fill(found, path, {step: table[step], **cells}, rows, step, {step: STEP, **own})
        yield found


def _is_time(meaning: str) -> bool:
    return meaning in (TIME, WALL)


def _step(path: Path, cell: str, row: int) -> int:
    value = as_number(cell)
    if value is None or not math.isfinite(value) or value != int(value) or not 0 <= value < _LARGEST_STEP:
        raise UsageError(f"{path}: row {row + 2}: the step is '{cell}', and should be a whole number from 0")
    return int(value)
