"""data.json of a run: what it keeps of its data set, so that predictions need nothing but the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnopt.errors import RunsFolderError
from nnopt.store.files import write_json
from nnopt.store.json_file import read_json

DATA = "data.json"
SCHEMA = 1


def write_data_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes the file of the run in `folder`.

    Raises:
        DiskError: it cannot be written.
    """
    write_json(folder / DATA, {"schema": SCHEMA, **record}, sync=False)


def read_data_record(folder: Path) -> dict[str, Any]:
    """What `write_data_record` wrote.

    Raises:
        RunsFolderError: it is not there, damaged, or written by a newer nnopt.
    """
    missing = f"has no {DATA}; an earlier nnopt trained it: --fresh trains it again"
    record = read_json(folder / DATA, SCHEMA, missing)
    if not {"task", "samples", "input_shape"} <= record.keys():
        raise RunsFolderError(f"{folder / DATA} is damaged: it does not describe a data set")
    return record
