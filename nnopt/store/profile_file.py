"""What `nnopt train --profile` leaves in a run's folder: profile.json, its tables as CSV, and a trace."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnopt.errors import RunsFolderError
from nnopt.store.files import write_json, write_whole
from nnopt.store.json_file import read_json

PROFILE = "profile.json"
STAGE_TABLE = "profile.csv"
OPERATOR_TABLE = "profile_operators.csv"
TRACE = "profile.trace.json.gz"
FILES = (PROFILE, STAGE_TABLE, OPERATOR_TABLE, TRACE)
SCHEMA = 1

STAGE_COLUMNS = ("stage", "part_of", "calls", "mean_ms", "median_ms", "p95_ms", "share", "host_ms")
OPERATOR_COLUMNS = ("operator", "calls", "cpu_self_ms", "cpu_share", "device_self_ms", "device_share")


def write_profile(folder: Path, content: dict[str, Any], trace: bytes) -> None:
    """Writes the files of the run in `folder`, profile.json last: where that is, the others are.

    Raises:
        DiskError: one of them cannot be written.
    """
    write_whole(folder / TRACE, gzip.compress(trace, compresslevel=6), sync=False)
    write_whole(folder / OPERATOR_TABLE, _as_csv(OPERATOR_COLUMNS, content["operators"]), sync=False)
    write_whole(folder / STAGE_TABLE, _as_csv(STAGE_COLUMNS, content["stages"]), sync=False)
    write_json(folder / PROFILE, {"schema": SCHEMA, **content}, sync=False)


def read_profile(folder: Path) -> dict[str, Any]:
    """What `write_profile` was given as `content`.

    Raises:
        RunsFolderError: it is not there, damaged, or written by a newer nnopt.
    """
    missing = f"has no {PROFILE}: `nnopt train CONFIG --profile` writes one, of runs that are done too"
    content = read_json(folder / PROFILE, SCHEMA, missing, "profile it again")
    if not {"stages", "operators", "step_ms", "findings"} <= content.keys():
        raise RunsFolderError(f"{folder / PROFILE} is damaged: it does not say where the time of a step goes")
    return content


def remove_profile(folder: Path) -> None:
    """Removes what an earlier profile left: tables of two profiles would not belong together."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Names of operators have commas in them, so this one is quoted where needed."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([["" if row[name] is None else row[name] for name in columns] for row in rows])
    return text.getvalue()
