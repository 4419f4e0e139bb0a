"""`data.split`: what decides which part a row of a table belongs to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nnopt.spec.base import Kinds, KindSpec


class SplitKind(KindSpec):
    """What decides which part a row belongs to; `validation` and `test` say how many rows a part has."""


class RandomSplit(SplitKind):
    """Rows are drawn at random, with equal shares of the classes in every part."""

    kind: Literal["random"]


class TimeSplit(SplitKind):
    """The last rows in time are for test, those before them for validation, the first for training."""

    kind: Literal["time"]
    column: str = Field(
        min_length=1,
        description="numbers, or dates such as 2024-05-31 or 2024-05-31T12:00; an input only where data.columns names "
        "it. Rows of one time stay together",
    )


class GroupSplit(SplitKind):
    """Groups of rows are drawn at random, each whole in one part."""

    kind: Literal["group"]
    column: str = Field(
        min_length=1,
        description="rows with the same value here are a group; an input only where data.columns names it. Parts have "
        "about as many rows as asked for",
    )


SPLITS = Kinds("split", SplitKind, (RandomSplit, TimeSplit, GroupSplit))
