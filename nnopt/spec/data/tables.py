"""Tables of a user's own, and those that scikit-learn loads."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import override

from nnopt.data.task import Task
from nnopt.spec.base import NOT_IDENTITY, Items, mistake_at, show
from nnopt.spec.data.base import ROOT_HELP, TestSplitSpec
from nnopt.spec.data.splits import SPLITS, GroupSplit, RandomSplit, SplitKind, TimeSplit

if TYPE_CHECKING:
    from nnopt.data.raw import Raw
    from nnopt.data.sources.table_files import Format
    from nnopt.data.sources.tables import Roles

TableTask = Literal["classification", "regression", "multilabel", "multitask"]
NO_NUL = r"^[^\x00]+$"


def _name_or_names(value: Any) -> Any:
    names = value if isinstance(value, list | tuple) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise PydanticCustomError("target", f"should be the name of a column, or a list of names, not {show(value)}")
    return value


class Table(TestSplitSpec):
    """A table in a file, a row a sample."""

    own_files: ClassVar[tuple[str, ...]] = ("path", "test_path")

    path: str = Field(
        pattern=NO_NUL,
        description="the file: relative to the working directory or, where it is not there, to the data folder",
    )
    target: Annotated[str | Items[str], BeforeValidator(_name_or_names)] = Field(
        description="the column to foretell; a list for several numbers, labels or questions"
    )
    task: TableTask = Field(
        "classification",
        description="classification: the target's values are classes; regression: numbers; multilabel: every target "
        "column is a label, 0 or 1; multitask: every target column is a question of its own, which asks for a class "
        "where data.categorical names it, else for a number",
    )
    columns: Items[str] = Field((), description="the input columns; empty: all that nothing else here names")
    leave_out: Items[str] = Field((), description="columns that are no inputs")
    categorical: Items[str] = Field(
        (),
        description="columns whose values are categories though they look like numbers, or are more than 100; words "
        "are categories anyway. Each category of the training rows becomes an input of zeros and ones; a category that "
        "is none of them is all zeros",
    )
    split: Annotated[SplitKind, SPLITS] = Field(
        RandomSplit(kind="random"), description="what decides which part a row is in: random, time or group"
    )
    test_path: str | None = Field(
        None,
        pattern=NO_NUL,
        description="a file with the same columns whose rows are for test: none of `path` are then",
    )
    root: str | None = Field(None, pattern=NO_NUL, description=ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def questions(self) -> dict[str, Task]:
        """What is asked by each of several questions: classification or regression."""
        if self.task != "multitask":
            return {}
        return {name: "classification" if name in self.categorical else "regression" for name in self.targets}

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        targets = self.targets
        if self.task == "multitask" and len(targets) < 2:
            raise mistake_at(("target",), "several questions have a column each: name at least two")
        if self.task == "classification" and len(targets) > 1:
            raise mistake_at(
                ("target",), "classification has one target column; write task: multilabel, multitask or regression"
            )
        for key in ("target", "columns", "leave_out", "categorical"):
            names = targets if key == "target" else getattr(self, key)
            for name in names:
                if names.count(name) > 1:
                    raise mistake_at((key,), f"'{name}' is there twice")
                if key in ("columns", "leave_out") and name in targets:
                    raise mistake_at((key,), f"'{name}' is the target")
                if key == "leave_out" and name in self.columns:
                    raise mistake_at((key,), f"'{name}' is in columns as well")
        if self.task == "regression" and (words := [name for name in targets if name in self.categorical]):
            raise mistake_at(("categorical",), f"'{words[0]}' is the target of a regression: a number")
        if isinstance(self.split, TimeSplit) and self.folds is not None:
            raise mistake_at(("folds",), "folds are drawn at random, not by time: leave one of the two out")
        if isinstance(self.split, TimeSplit | GroupSplit) and self.split.column in targets:
            raise mistake_at(("split",), f"'{self.split.column}' is the target")
        return self

    @override
    def read(self) -> Raw:
        from nnopt.data.paths import find
        from nnopt.data.sources import tables

        path = find(self.path, self.root)
        test_path = None if self.test_path is None else find(self.test_path, self.root, "data.test_path")
        return tables.read(path, test_path, self._form(), self._roles())

    def _form(self) -> Format:
        from nnopt.data.sources.table_files import Format

        return Format()

    def _roles(self) -> Roles:
        from nnopt.data.sources.tables import Roles

        return Roles(
            task=self.task,
            target=self.targets,
            columns=self.columns,
            leave_out=self.leave_out,
            categorical=self.categorical,
            time=self.split.column if isinstance(self.split, TimeSplit) else None,
            group=self.split.column if isinstance(self.split, GroupSplit) else None,
        )


class Csv(Table):
    """A table of your own in a text file: a line a row, the first line names the columns."""

    source: ClassVar[str] = "a file of your own; RFC 4180, https://www.rfc-editor.org/rfc/rfc4180"

    kind: Literal["csv"]
    delimiter: str = Field(",", description='what stands between two cells: one character, a tab as "\\t"')
    decimal: Literal[".", ","] = Field(".", description="the decimal sign")
    encoding: str = Field("utf-8", description="how the file's characters are written, as latin-1 or utf-16")
    missing: Items[str] = Field(
        ("", "NA", "N/A", "NaN", "nan", "NULL", "null"),
        description="what an empty cell holds: there numbers are filled with the median of the training rows, words "
        "with no category, and where training rows have gaps an input of its own tells of them",
    )
    names: Items[str] = Field((), description="names of all columns, where the file has no first line that says them")

    @model_validator(mode="after")
    def _text_can_be_read(self) -> Self:
        try:
            codecs.lookup(self.encoding)
            "".encode(self.encoding)
        except (LookupError, ValueError):
            raise mistake_at(("encoding",), f"no encoding of text is called '{self.encoding}'; try utf-8") from None
        if len(self.delimiter) != 1 or self.delimiter in '\x00"\r\n':
            raise mistake_at(
                ("delimiter",), f'should be one character, a tab in double quotes as "\\t", not {show(self.delimiter)}'
            )
        if self.delimiter == self.decimal:
            raise mistake_at(("decimal",), "is the delimiter as well")
        for name in self.names:
            if self.names.count(name) > 1:
                raise mistake_at(("names",), f"'{name}' is there twice")
        return self

    @override
    def _form(self) -> Format:
        from nnopt.data.sources.table_files import Format

        return Format(self.delimiter, self.decimal, self.encoding, self.missing, self.names)


class Parquet(Table):
    """A table of your own in a Parquet file; needs pyarrow (pip install 'nnopt[parquet]')."""

    source: ClassVar[str] = "a file of your own; https://parquet.apache.org/docs/file-format"

    kind: Literal["parquet"]


# name -> task; those that lie in scikit-learn itself first
LOADERS: dict[str, Task] = {
    "breast_cancer": "classification",
    "diabetes": "regression",
    "digits": "classification",
    "iris": "classification",
    "linnerud": "regression",
    "wine": "classification",
    "california_housing": "regression",
    "covtype": "classification",
    "olivetti_faces": "classification",
}


class Sklearn(TestSplitSpec):
    """A data set that scikit-learn loads, every feature a number; the last three of the list are downloaded once."""

    source: ClassVar[str] = "https://scikit-learn.org/stable/datasets.html"

    kind: Literal["sklearn"]
    name: Literal[
        "breast_cancer",
        "diabetes",
        "digits",
        "iris",
        "linnerud",
        "wine",
        "california_housing",
        "covtype",
        "olivetti_faces",
    ] = Field(description="the loader, as load_iris or fetch_california_housing without its first word")
    root: str | None = Field(None, pattern=NO_NUL, description=ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    @property
    @override
    def asks(self) -> Task:
        return LOADERS[self.name]

    @override
    def available(self) -> str | None:
        from nnopt.data.sources import scikit_learn

        return scikit_learn.missing(self.name, self.root)

    @override
    def read(self) -> Raw:
        from nnopt.data.sources import scikit_learn

        return scikit_learn.read(self.name, LOADERS[self.name], self.root)
