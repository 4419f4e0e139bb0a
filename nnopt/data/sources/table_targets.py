"""What the target columns of a table ask for: classes, numbers, labels, or several questions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from nnopt.data.raw import Array
from nnopt.data.sources.table_columns import Column, class_order, parsed
from nnopt.data.task import Question, Task
from nnopt.errors import DataError

# A column with more different values than this, and more than one in so many rows, is no target of classes.
MANY_CLASSES, ROWS_OF_A_CLASS = 20, 5


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets as `Raw` has them.

    Attributes:
        values: [n] int64 class numbers, or [n, d] float64.
        classes: names of classes or labels; () for numbers and several questions.
        questions: what each column answers, for several questions.
    """

    values: Array
    classes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


def targets_of(columns: Sequence[Column], task: Task, categorical: Collection[str]) -> Targets:
    """The targets that `columns` hold.

    Args:
        columns: the target columns; words where the task has classes.
        task: classification, regression, multilabel or multitask.
        categorical: for several questions the columns that ask for a class.

    Raises:
        DataError: an empty cell, one value alone, words where numbers belong, or more values than classes can have.
    """
    for column in columns:
        _check_whole(column)
    if task == "classification":
        values, classes = classes_of(columns[0])
        return Targets(values, classes)
    if task == "multilabel":
        return Targets(_beside([_labels(column) for column in columns]), tuple(column.name for column in columns))
    if task == "regression":
        return Targets(_beside([_numbers(column, "or write task: classification") for column in columns]))
    answers, questions = [], []
    for column in columns:
        if column.name in categorical:
            found, classes = classes_of(column)
            answers.append(found.astype(np.float64))
        else:
            classes = ()
            answers.append(_numbers(column, f"or name '{column.name}' in data.categorical to ask for a class"))
        questions.append(Question(column.name, classes))
    return Targets(_beside(answers), questions=tuple(questions))


def classes_of(column: Column) -> tuple[Array, tuple[str, ...]]:
    """Class numbers [n] int64 of a column of words, and the names of the classes: numbers by size, words by alphabet.

    Raises:
        DataError: there is one class alone, or there are too many to be classes.
    """
    assert column.words is not None
    # "1" and "1.0" are one class
    numeric = parsed(column.words, ".")
    whole = not np.isnan(numeric).any()
    names = [_name_of(value) for value in numeric] if whole else list(column.words)
    classes = tuple(sorted(set(names), key=class_order))
    n, different = len(column.values), len(classes)
    if different == 1:
        raise DataError(
            f"data.target: column '{column.name}' of {column.where} has one class alone, '{classes[0]}'; "
            "there is nothing to tell apart"
        )
    if (whole and (numeric % 1).any()) or (different > MANY_CLASSES and different * ROWS_OF_A_CLASS > n):
        what = "numbers: write task: regression" if whole else "words: are they classes, or names?"
        raise DataError(f"data.target: column '{column.name}' of {column.where} has {different} different {what}")
    place = {name: index for index, name in enumerate(classes)}
    return np.array([place[name] for name in names], dtype=np.int64)[column.values.astype(np.intp)], classes


def _name_of(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _check_whole(column: Column) -> None:
    gaps = column.gaps
    if gaps.all():
        raise DataError(f"data.target: column '{column.name}' of {column.where} is empty")
    if gaps.any():
        more = int(gaps.sum()) - 1
        raise DataError(
            f"{column.row_of(gaps)} has no target: its cell in column '{column.name}' is empty"
            f"{f', as are {more} more' if more else ''}; fill or delete such rows"
        )


def _numbers(column: Column, advice: str) -> Array:
    values = column.numbers(f"correct it, {advice}").values
    if (values == values[0]).all():
        raise DataError(
            f"data.target: column '{column.name}' of {column.where} has the same number, {values[0]:g}, in every row; "
            "there is nothing to learn"
        )
    return values


def _labels(column: Column) -> Array:
    values = column.numbers("a label is 0 or 1").values
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        value = values[np.argmax(wrong)]
        raise DataError(f"{column.row_of(wrong)}: {value:g} in column '{column.name}' is no label, which is 0 or 1")
    if (values == values[0]).all():
        raise DataError(
            f"data.target: label '{column.name}' of {column.where} is {values[0]:g} in every row; "
            "there is nothing to tell apart"
        )
    return values


def _beside(columns: Sequence[Array]) -> Array:
    return np.stack(columns, axis=1)
