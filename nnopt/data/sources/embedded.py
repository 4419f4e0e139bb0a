"""The small data sets that come with scikit-learn, read from its files.

Importing scikit-learn takes seconds, reading these files milliseconds; so the package is found, not imported.
"""

from __future__ import annotations

import importlib.util
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnopt.data.raw import Array, Raw, digest
from nnopt.data.sources.table_files import Format
from nnopt.data.table_layout import Feature, TableLayout
from nnopt.errors import DataError


def embedded_file(name: str) -> bytes:
    """The content of a data file of scikit-learn, unpacked where it is a .gz.

    Raises:
        DataError: the installed scikit-learn does not have it.
    """
    found = importlib.util.find_spec("sklearn")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise DataError(f"{name} comes with scikit-learn, which is not installed: pip install scikit-learn")
    path = Path(places[0], "datasets", "data", name)
    try:
        content = path.read_bytes()
        return zlib.decompress(content, wbits=31) if path.suffix == ".gz" else content
    except (OSError, zlib.error) as error:
        raise DataError(f"cannot read {path} ({error}): install scikit-learn again") from error


def table(content: bytes, delimiter: str | None = ",", skip: int = 0) -> Array:
    """The numbers of a text file: [rows, columns] float64."""
    return np.loadtxt(io.BytesIO(content), delimiter=delimiter, skiprows=skip, ndmin=2)


def labelled_table(name: str, features: Sequence[str]) -> Raw:
    """A file whose first line is `rows,features,class,class...` and whose last column is the class number.

    `features` are the names of the other columns: a new table that has them all can be predicted from.
    """
    content = embedded_file(name)
    rows = table(content, skip=1)
    classes = content.split(b"\n", 1)[0].decode().strip().split(",")[2:]
    layout = plain_layout(features)
    return Raw(rows[:, :-1], rows[:, -1].astype(np.int64), tuple(classes), digest(content), layout=layout)


def plain_layout(features: Sequence[str]) -> TableLayout:
    """A table of numbers with these columns."""
    return TableLayout(tuple(Feature(name) for name in features), Format())
