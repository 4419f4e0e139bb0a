"""Every curve of a comparison as one long table, Parquet or CSV."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nnopt.compare.groups import Group
from nnopt.errors import UsageError
from nnopt.store.files import write_whole
from nnopt.store.record import RunRecord

# What tells the runs apart; then come the columns of metrics.csv.
KEYS = ("experiment", "variant", "trial", "spec_hash", "seed", "status")
# Columns of metrics.csv that count: written as whole numbers.
COUNTS = ("step", "samples", "gradient_evaluations", "memory_peak_bytes")
Columns = dict[str, list[Any]]


def check_curves_file(path: Path) -> None:
    """Refuses a file that could not be written, before any work.

    Raises:
        UsageError: its suffix is neither .parquet nor .csv, or pyarrow is missing.
    """
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"cannot write {path}: a file of curves ends in {' or '.join(WRITERS)}")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"cannot write {path}: Parquet needs pyarrow; pip install 'nnopt[parquet]', or write a .csv")


def write_curves(groups: Sequence[Group], path: Path) -> None:
    """Writes one row an evaluation of every run: KEYS, then all columns that some metrics.csv has.

    A cell is empty (null in Parquet) where the run has no such column or no value; NaN and infinity stay what they
    are. Numbers are written so that they read back equal. A column of metrics.csv with the name of a key gets
    `metrics_` before it.

    Raises:
        UsageError: as `check_curves_file`.
        RunsFolderError: a metrics.csv is damaged.
        DiskError: the file cannot be written.
    """
    check_curves_file(path)
    write_whole(path, WRITERS[path.suffix.lower()](long_table(groups)))


def long_table(groups: Sequence[Group]) -> Columns:
    """The table by column, all of one length, None for an empty cell."""
    records = [record for group in groups for record in group.records]
    names = list(dict.fromkeys(name for record in records for name in record.curve()))
    table: Columns = {name: [] for name in (*KEYS, *map(_column, names))}
    for record in records:
        curve = record.curve()
        rows = len(next(iter(curve.values()), ()))
        for key, value in _keys(record).items():
            table[key] += [value] * rows
        for name in names:
            table[_column(name)] += curve.get(name, [None] * rows)
    for name in COUNTS:
        values = table.get(name, [])
        if all(value is None or value.is_integer() for value in values):
            table[name] = [None if value is None else int(value) for value in values]
    return {name: values for name, values in table.items() if values or name in KEYS}


def _keys(record: RunRecord) -> dict[str, Any]:
    return {key: getattr(record, key) for key in KEYS}


def _column(name: str) -> str:
    return f"metrics_{name}" if name in KEYS else name


def _to_csv(table: Columns) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))  # floats by repr: the shortest text that reads back equal
    return file.getvalue().encode()


def _to_parquet(table: Columns) -> bytes:
    import pyarrow
    import pyarrow.parquet

    texts = ("experiment", "variant", "spec_hash", "status")
    kinds = {name: pyarrow.string() for name in texts} | {"trial": pyarrow.int64(), "seed": pyarrow.int64()}
    arrays = {}
    for name, values in table.items():
        whole = name in COUNTS and all(value is None or isinstance(value, int) for value in values)
        arrays[name] = pyarrow.array(values, kinds.get(name, pyarrow.int64() if whole else pyarrow.float64()))
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), file)
    return file.getvalue()


WRITERS: dict[str, Callable[[Columns], bytes]] = {".parquet": _to_parquet, ".csv": _to_csv}
