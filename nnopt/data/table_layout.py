"""How the columns of a table become the inputs of a model, fitted on training rows and kept with the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from nnopt.data.layout import Layout, NewRows
from nnopt.data.raw import Array
from nnopt.data.sources.table_columns import Column
from nnopt.data.sources.table_files import Format, first_cells, is_parquet, names_in, read_columns
from nnopt.errors import DataError


@dataclass(frozen=True)
class Feature:
    """What one column of a table gives a model.

    A number gives itself, with `fill` where there is none. Words give a zero or one for each of `categories`: all zeros
    for a word that is none of them. Where training rows had empty cells (`gaps`), one more zero or one tells of them.

    Attributes:
        name: of the column.
        fill: what stands for a number that is not there: the median of the training rows.
        categories: the words of the training rows, sorted; None for numbers.
        gaps: whether training rows had empty cells.
    """

    name: str
    fill: float = 0.0
    categories: tuple[str, ...] | None = None
    gaps: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """What each of its inputs is, in words."""
        own = (self.name,) if self.categories is None else tuple(f"{self.name} = {word}" for word in self.categories)
        return (*own, f"{self.name} is empty") if self.gaps else own

    @property
    def unscaled(self) -> tuple[bool, ...]:
        """Which of its inputs are zeros and ones that no normalisation changes."""
        own = (False,) if self.categories is None else (True,) * len(self.categories)
        return (*own, True) if self.gaps else own

    def write(self, column: Column, out: Array) -> None:
        """Put the inputs that `column` [n] gives into `out` [n, len(inputs)], which holds zeros."""
        gaps = column.gaps
        if self.categories is None:
            np.copyto(out[:, 0], np.where(gaps, self.fill, column.values))
        else:
            places = np.nan_to_num(column.places(self.categories), nan=-1).astype(np.intp)
            rows = np.flatnonzero(places >= 0)
            out[rows, places[rows]] = 1.0
        if self.gaps:
            np.copyto(out[:, -1], gaps)


@dataclass(frozen=True)
class TableLayout(Layout):
    """The columns that a model reads, and how a file holds them."""

    kind: ClassVar[str] = "table"
    features: tuple[Feature, ...]
    form: Format

    @property
    def unscaled(self) -> Array:
        """[inputs] bool: zeros and ones that no normalisation changes."""
        return np.array([one for feature in self.features for one in feature.unscaled])

    def encode(self, columns: Mapping[str, Column]) -> Array:
        """The inputs [n, inputs] float64 that `columns` [n] give; numbers where the layout has numbers."""
        n = len(next(iter(columns.values())).values)
        out = np.zeros((n, len(self.unscaled)))
        start = 0
        for feature in self.features:
            width = len(feature.unscaled)
            feature.write(columns[feature.name], out[:, start : start + width])
            start += width
        return out

    @override
    def read(self, path: Path) -> NewRows:
        names = [feature.name for feature in self.features]
        form = self._form_of(path, names)
        there = names_in(path, form)
        lacking = [name for name in names if name not in there]
        if lacking:
            shown = ", ".join(f"'{name}'" for name in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            raise DataError(f"{path} lacks the column{'s' if len(lacking) > 1 else ''} {shown} of the training data")
        words = {feature.name for feature in self.features if feature.categories is not None}
        columns = read_columns(path, form, names, words)
        advice = "the training data has numbers there"
        for name in set(names) - words:
            columns[name] = columns[name].numbers(advice)
        inputs = self.encode(columns)
        return NewRows(inputs, range(1, len(inputs) + 1))

    def _form_of(self, path: Path, names: Sequence[str]) -> Format:
        """As the training data was written; where that had no line of names, a new file may have one, or no targets."""
        if not self.form.names or is_parquet(path):
            return self.form
        first = first_cells(path, self.form)
        if set(names) <= set(first):
            return dataclasses.replace(self.form, names=())
        if len(first) == len(names):
            return dataclasses.replace(self.form, names=tuple(name for name in self.form.names if name in names))
        return self.form

    @override
    def record(self) -> dict[str, Any]:
        return {
            "features": [dataclasses.asdict(feature) for feature in self.features],
            "form": dataclasses.asdict(self.form),
        }

    @classmethod
    @override
    def restore(cls, record: dict[str, Any]) -> Self:
        features = [
            Feature(**{**one, "categories": None if one["categories"] is None else tuple(one["categories"])})
            for one in record["features"]
        ]
        form: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record["form"].items()
        }
        return cls(tuple(features), Format(**form))


def fitted(columns: Sequence[Column], rows: Array, form: Format) -> TableLayout:
    """The layout that the training `rows` [m] of `columns` give.

    Raises:
        DataError: a column is empty in all of them.
    """
    return TableLayout(tuple(_feature(column, rows) for column in columns), form)


def _feature(column: Column, rows: Array) -> Feature:
    values = column.values[rows]
    gaps = np.isnan(values)
    if gaps.all():
        raise DataError(f"column '{column.name}' of {column.where} is empty in every training row: leave it out")
    if column.words is None:
        return Feature(column.name, float(np.median(values[~gaps])), gaps=bool(gaps.any()))
    places = np.unique(values[~gaps]).astype(int)
    return Feature(column.name, categories=tuple(column.words[place] for place in places), gaps=bool(gaps.any()))
