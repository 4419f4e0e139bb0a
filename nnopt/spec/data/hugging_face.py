"""Data sets of Hugging Face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from nnopt.spec.base import NOT_IDENTITY, Items
from nnopt.spec.data.arrays import CHANNELS_HELP, Name
from nnopt.spec.data.images import OWN_ROOT_HELP, ImageKeys

if TYPE_CHECKING:
    from nnopt.data.raw import Raw


class HuggingFace(ImageKeys):
    """A data set of Hugging Face's datasets: a folder, a file, or one of the Hub by name; needs nnopt[huggingface].

    Its inputs are one column of images, one of lists or arrays, or columns of numbers and of words (categories).
    """

    kind: Literal["huggingface"]
    source: ClassVar[str] = "Lhoest and others 2021, arXiv:2109.02846"
    own_files: ClassVar[tuple[str, ...]] = ("path",)

    path: Name | None = Field(
        None, description="a folder (of save_to_disk, or of files), or a file: .csv, .json, .jsonl, .parquet, .arrow"
    )
    name: Name | None = Field(None, description="in place of a path: what the Hub calls it; downloaded once")
    configuration: Name | None = Field(None, description="which of several data sets of this name")
    train_split: Name = Field("train", description="the split to train on")
    validation_split: Name | None = Field(
        None, description="the split for validation, else one called validation; none: its rows are drawn"
    )
    test_split: Name | None = Field(None, description="the split for the test, else one called test; none: drawn")
    inputs: Name | Annotated[Items[Name], Field(min_length=1)] | None = Field(
        None, description="a column, or a list of them; else all but the target"
    )
    target: Name | Annotated[Items[Name], Field(min_length=1)] = Field(
        "label", description="the column of the targets; several for several numbers, or for labels of 0 and 1"
    )
    task: Literal["classification", "regression", "multilabel"] = Field(
        "classification", description="what the target is: a class, numbers, or a 0 or 1 for each of several labels"
    )
    axes: Literal["auto", "first", "last"] = Field("auto", description=f"for a column of arrays: {CHANNELS_HELP}")
    root: Name | None = Field(None, description=OWN_ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    @model_validator(mode="after")
    def _one_place(self) -> HuggingFace:
        if (self.path is None) == (self.name is None):
            raise ValueError("give one of path (a folder or file here) and name (a data set of the Hub)")
        if self.task == "classification" and not isinstance(self.target, str) and len(self.target) > 1:
            raise ValueError("target: classes are in one column; for labels of 0 and 1 write task: multilabel")
        return self

    def read(self) -> Raw:
        """The content of the data set."""
        from nnopt.data.sources.hugging_face import Place, Wanted, read_hugging_face

        wanted = Wanted(
            (self.train_split, self.validation_split, self.test_split),
            _columns(self.inputs),
            _columns(self.target),
            self.task,
        )
        place = Place(self.path, self.name, self.configuration, self.root)
        return read_hugging_face(place, wanted, self.making, self.axes)

    def available(self) -> str | None:
        """As `DataSpec.available`; a data set of the Hub may have to be downloaded."""
        if self.path is not None:
            return super().available()
        return f"{self.name} may have to be downloaded from the Hugging Face Hub"


def _columns(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else names
