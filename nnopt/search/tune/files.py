"""Tables as CSV files that pandas reads in one line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from nnopt.store.files import Cell, write_whole


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Writes a table, whole; an empty cell is a missing value.

    Raises:
        DiskError: the disk refuses.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    write_whole(path, text.getvalue())
