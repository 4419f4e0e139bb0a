"""One column of a table: numbers, or words by their numbers in a list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnopt.data.raw import Array
from nnopt.errors import DataError

if TYPE_CHECKING:
    import pandas

TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes:
        name: what the table calls it.
        values: [n] float64, numbers, or places in `words`; NaN where a cell is empty.
        words: the different words, sorted; None for numbers.
        where: the file, for messages.
        decimal: the decimal sign of the file.
        second: the row from which on cells are of another file, and that file.
    """

    name: str
    values: Array
    words: tuple[str, ...] | None
    where: Path | str
    decimal: str = "."
    second: tuple[int, Path | str] | None = None

    @property
    def gaps(self) -> Array:
        """[n], which cells are empty."""
        return np.isnan(self.values)

    def row_of(self, chosen: Array) -> str:
        """The first row that `chosen` [n] marks, as messages name it: counted from 1, the line of names left out."""
        row, where = int(np.argmax(chosen)), self.where
        if self.second is not None and row >= self.second[0]:
            row, where = row - self.second[0], self.second[1]
        return f"row {row + 1} of {where}"

    def numbers(self, advice: str) -> Column:
        """The same column as numbers; words such as "1.5" and "true" are some.

        Raises:
            DataError: a word is none, with its row and column and `advice`.
        """
        if self.words is None:
            return self
        found = parsed(self.words, self.decimal)
        wrong = np.isnan(found)
        if wrong.any():
            cells = np.isin(self.values, np.flatnonzero(wrong))
            word = self.words[int(self.values[np.argmax(cells)])]
            raise DataError(f"{self.row_of(cells)}: '{_short(word)}' in column '{self.name}' is no number; {advice}")
        return replace(self, values=_looked_up(found, self.values), words=None)

    def places(self, words: Sequence[str]) -> Array:
        """[n] float64: places of the cells in `words`, -1 for other words, NaN where a cell is empty."""
        assert self.words is not None
        place = {word: index for index, word in enumerate(words)}
        return _looked_up(np.array([place.get(word, -1) for word in self.words], dtype=np.float64), self.values)


def column_of(series: pandas.Series[Any], name: str, where: Path | str, decimal: str, as_words: bool) -> Column:
    """A column of pandas: numbers and truth values as numbers, all else as words.

    Raises:
        DataError: it holds something else, or a number that is not finite.
    """
    from pandas.api import types

    if types.is_numeric_dtype(series.dtype) or types.is_bool_dtype(series.dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        infinite = np.isinf(values)
        column = Column(name, values, None, where, decimal)
        if infinite.any():
            value = values[np.argmax(infinite)]
            raise DataError(f"{column.row_of(infinite)}: {value} in column '{name}' is no finite number")
        return _as_words(column) if as_words else column
    if types.is_datetime64_any_dtype(series.dtype):
        series = series.dt.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return _words(series, name, where, decimal)


def words_of(cells: Array, name: str, where: Path | str) -> Column:
    """A column of words, one a cell [n], none of them empty."""
    different, places = np.unique(cells, return_inverse=True)
    words = tuple(sorted(map(str, different), key=class_order))
    order = np.array([words.index(str(word)) for word in different], dtype=np.float64)
    return Column(name, order[places], words, where)


def joined(first: Column, second: Column) -> Column:
    """The cells of a column of one file, and those of the same column of another after them.

    Raises:
        DataError: the first has numbers and the second a word that is none.
    """
    if first.words is None:
        second = second.numbers(f"{first.where} has numbers there")
        cells = second.values
        words = None
    else:
        second = _as_words(second) if second.words is None else second
        assert second.words is not None
        words = tuple(sorted({*first.words, *second.words}, key=class_order))
        first, cells = replace(first, values=first.places(words)), second.places(words)
    values = np.concatenate([first.values, cells])
    return replace(first, values=values, words=words, second=(len(first.values), second.where))


def class_order(word: str) -> tuple[float, str]:
    """Sorts words by the alphabet, but numbers by their size and before all others."""
    value = _number(word, ".")
    return (math.inf if math.isnan(value) else value, word)


def parsed(words: Sequence[str], decimal: str) -> Array:
    """The numbers that words are, [len(words)] float64; NaN for those that are none."""
    return np.array([_number(word, decimal) for word in words], dtype=np.float64)


def _number(word: str, decimal: str) -> float:
    if word.lower() in TRUTH:
        return TRUTH[word.lower()]
    try:
        strange = "_" in word or (decimal != "." and "." in word)  # Python reads 1_000, and 1.000 may be a thousand
        value = math.nan if strange else float(word.replace(decimal, "."))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _words(series: pandas.Series[Any], name: str, where: Path | str, decimal: str) -> Column:
    import pandas

    try:
        codes, found = pandas.factorize(series)
    except TypeError as error:
        raise DataError(f"column '{name}' of {where} holds neither numbers nor words: name it in data.leave_out") from (
            error
        )
    stripped = [str(word).strip() for word in found]
    words = tuple(sorted({word for word in stripped if word}, key=class_order))
    place = {word: float(index) for index, word in enumerate(words)}
    lookup = np.array([*(place.get(word, math.nan) for word in stripped), math.nan])  # the last for code -1
    return Column(name, lookup[codes], words, where, decimal)


def _as_words(column: Column) -> Column:
    """Numbers as the words that a CSV file would have for them: 3 for 3.0."""
    present = column.values[~column.gaps]
    different = np.unique(present)
    words = tuple(str(int(value)) if float(value).is_integer() else repr(float(value)) for value in different)
    places = np.where(column.gaps, np.nan, np.searchsorted(different, column.values).astype(np.float64))
    return replace(column, values=places, words=words)


def _looked_up(table: Array, places: Array) -> Array:
    """table[place] for every place, NaN for NaN."""
    gaps = np.isnan(places)
    if len(table) == 0:
        return np.full(len(places), np.nan)
    return np.where(gaps, np.nan, table[np.where(gaps, 0, places).astype(np.intp)])


def _short(word: str) -> str:
    return word if len(word) <= 40 else f"{word[:37]}..."
