"""Tables in files: CSV by pandas, Parquet by pyarrow."""

from __future__ import annotations

import hashlib
import re
import warnings
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.data.sources.table_columns import Column, column_of
from nnopt.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas

PARQUET = (".parquet", ".pq")
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")


@dataclass(frozen=True)
class Format:
    """How a table is written.

    Attributes:
        delimiter: what stands between two cells of a CSV file.
        decimal: the decimal sign of a CSV file.
        encoding: of a CSV file.
        missing: what stands in cells that are empty.
        names: of the columns, where a CSV file has no first line that says them.
    """

    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    missing: tuple[str, ...] = MISSING
    names: tuple[str, ...] = ()


def names_in(path: Path, form: Format) -> tuple[str, ...]:
    """The names of the columns of a table, in their order; "" for one without a name.

    Raises:
        DataError: no such table can be read there, or two columns have one name.
    """
    _check_file(path)
    names = _parquet_names(path) if is_parquet(path) else _csv_names(path, form)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns of the name '{twice[0]}': rename one of them")
    return names


def read_columns(path: Path, form: Format, names: Sequence[str], as_words: Collection[str]) -> dict[str, Column]:
    """Columns of a table by name.

    Args:
        path: a file that ends in .parquet or .pq, else CSV, packed or not (.gz, .bz2, .xz, .zip, .zst).
        form: how it is written.
        names: which columns; all are there.
        as_words: those of them whose values are words, though they may look like numbers.

    Raises:
        DataError: the file is damaged or holds no row, or a column holds something else than numbers or words.
    """
    frame: pandas.DataFrame | _Taken = (
        _read_parquet(path, names) if is_parquet(path) else _read_csv(path, form, names, as_words)
    )
    if len(frame) == 0:
        raise DataError(f"{path} has the names of columns and no row")
    found = {}
    for name in names:  # a column is let go once it was taken: the table is there twice at no time
        found[name] = column_of(frame.pop(name), name, path, form.decimal, name in as_words)
    return found


def is_parquet(path: Path) -> bool:
    """Whether a file's name says that it is Parquet."""
    return path.suffix.lower() in PARQUET


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path) -> None:
    try:
        if not path.exists():
            raise DataError(f"there is no file {path}")
        if not path.is_file():
            raise DataError(f"{path} is no file: a table is read from one file")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        with path.open("rb"):
            pass
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


# ------------------------------------------------------------------------------------------------------ CSV


def first_cells(path: Path, form: Format) -> tuple[str, ...]:
    """The cells of the first line of a CSV file.

    Raises:
        DataError: it cannot be read, or has none.
    """
    first = _pandas_csv(path, form, header=None, nrows=1, dtype=str, na_filter=False)
    if len(first) == 0:
        raise DataError(f"{path} is empty")
    return tuple(str(cell).strip() for cell in first.iloc[0])


def _csv_names(path: Path, form: Format) -> tuple[str, ...]:
    cells = first_cells(path, form)
    if not form.names:
        return cells
    if len(cells) != len(form.names):
        raise DataError(f"data.names: there are {len(form.names)} names, but {path} has {len(cells)} columns")
    return form.names


def _read_csv(path: Path, form: Format, names: Sequence[str], as_words: Collection[str]) -> pandas.DataFrame:
    every = list(names_in(path, form))
    keys: dict[str, Any] = {
        "header": None if form.names else 0,
        # pandas takes no column without a name: a number tells it from all others
        "names": [name or 0 for name in every],
        "keep_default_na": False,
        "na_values": list(form.missing),
        # columns are not chosen here: pandas would pass over lines with too many cells then
    }
    frame = _pandas_csv(path, form, **keys, dtype=dict.fromkeys(as_words, str))
    for name in set(frame.columns) - set(names):
        frame.pop(name)
    # What was a number in one block of the file and a word in another is read as it was written.
    mixed = [name for name in names if frame[name].dtype == object and len(frame)]
    if mixed:
        again = _pandas_csv(path, form, **keys, dtype=dict.fromkeys(mixed, str))
        for name in mixed:
            frame[name] = again.pop(name)
    return frame


def _pandas_csv(path: Path, form: Format, **keys: Any) -> pandas.DataFrame:
    """pandas.read_csv, with its errors and warnings in our words."""
    import pandas

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pandas.errors.DtypeWarning)
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame: pandas.DataFrame = pandas.read_csv(
                path,
                sep=form.delimiter,
                decimal=form.decimal,
                encoding="utf-8-sig" if form.encoding.lower().replace("-", "") == "utf8" else form.encoding,
                skipinitialspace=True,
                index_col=False,
                **keys,
            )
            return frame
    except pandas.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty") from error
    except UnicodeError as error:
        # a ValueError: before it
        advice = "write data.encoding, such as latin-1 or utf-16"
        raise DataError(f"{path} is no {form.encoding} text ({_in_one_line(error)}): {advice}") from error
    except pandas.errors.ParserWarning as error:
        raise DataError(f"{path}: every line has more cells than the first has names") from error
    except (OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise DataError(f"cannot read {path}: {_parser_words(error, form)}") from error


def _parser_words(error: Exception, form: Format) -> str:
    text = _in_one_line(error)
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)
    if not found:
        return text.removeprefix("Error tokenizing data. C error: ")
    wanted, line, cells = found.groups()
    return f"line {line} has {cells} cells, not {wanted} (a '{form.delimiter}' within a word stands in quotes)"


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


# -------------------------------------------------------------------------------------------------- Parquet


def _parquet_names(path: Path) -> tuple[str, ...]:
    return tuple(_opened(path).schema_arrow.names)


def _read_parquet(path: Path, names: Sequence[str]) -> _Taken:
    import pyarrow

    file = _opened(path)
    try:
        return _Taken(file.read(columns=list(names)))
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read {path}: {_in_one_line(error)}") from error


def _opened(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError("reading Parquet needs pyarrow: pip install 'nnopt[parquet]'") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read {path}: {_in_one_line(error)}") from error


class _Taken:
    """The columns of an Arrow table, turned into pandas' one by one."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def pop(self, name: str) -> pandas.Series[Any]:
        column: pandas.Series[Any] = self.table.column(name).to_pandas()
        self.table = self.table.drop_columns([name])
        return column
