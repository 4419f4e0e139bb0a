"""Arrays of the user in the files of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from nnopt.spec.base import NOT_IDENTITY
from nnopt.spec.data.base import TestSplitSpec
from nnopt.spec.data.images import OWN_ROOT_HELP
from nnopt.spec.data.streaming import StreamingSpec

if TYPE_CHECKING:
    from nnopt.data.raw import Raw

Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
TASK_HELP = "what the targets are: whole numbers or words that name classes, numbers, or a 0 or 1 for each of d labels"
CHANNELS_HELP = (
    "where images of three axes have their channels: first [n, channels, rows, columns] or last; auto takes the axis "
    "that has 1, 3 or 4"
)


class Npz(TestSplitSpec):
    """Arrays in a .npz file: inputs [n, features], [n, rows, columns] or images with channels, targets [n] or [n, d].

    Where it holds the test arrays too, these are the test part.
    """

    source: ClassVar[str] = "files of your own; https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html"
    own_files: ClassVar[tuple[str, ...]] = ("path",)

    kind: Literal["npz"]
    path: Name = Field(description="the file")
    inputs: Name = Field("inputs", description="the array of the inputs")
    targets: Name = Field("targets", description="the array of their targets")
    test_inputs: Name = Field("test_inputs", description="the array of the test part's inputs")
    test_targets: Name = Field("test_targets", description="the array of their targets")
    task: Literal["classification", "regression", "multilabel"] = Field("classification", description=TASK_HELP)
    channels: Literal["auto", "first", "last"] = Field("auto", description=CHANNELS_HELP)
    root: Name | None = Field(None, description=OWN_ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    def read(self) -> Raw:
        """The content of the file."""
        from nnopt.data.sources.arrays import Names, read_npz

        names = Names(self.inputs, self.targets, self.test_inputs, self.test_targets)
        wanted = (self.test_inputs, self.test_targets) != ("test_inputs", "test_targets")  # those names may be absent
        return read_npz(self.path, self.root, names, self.task, self.channels, test_wanted=wanted)


class Npy(StreamingSpec):
    """Arrays in .npy files, one of the inputs and one of the targets; rows of a large one are read as they are needed.

    The inputs are [n, features], [n, rows, columns] or images with channels, the targets [n] or [n, d].
    """

    source: ClassVar[str] = "files of your own; https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html"
    own_files: ClassVar[tuple[str, ...]] = ("path", "targets", "test_path", "test_targets")

    kind: Literal["npy"]
    path: Name = Field(description="the file of the inputs")
    targets: Name = Field(description="the file of their targets")
    test_path: Name | None = Field(None, description="the file of the test part's inputs; else rows are drawn")
    test_targets: Name | None = Field(None, description="the file of their targets")
    task: Literal["classification", "regression", "multilabel"] = Field("classification", description=TASK_HELP)
    channels: Literal["auto", "first", "last"] = Field("auto", description=CHANNELS_HELP)
    root: Name | None = Field(None, description=OWN_ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    @model_validator(mode="after")
    def _both_of_test(self) -> Npy:
        if (self.test_path is None) != (self.test_targets is None):
            raise ValueError("test_path and test_targets belong together: give both, or neither")
        return self

    def read(self) -> Raw:
        """The content of the files."""
        from nnopt.data.sources.arrays import Names, read_npys

        names = Names(self.path, self.targets, self.test_path, self.test_targets)
        return read_npys(self.root, names, self.task, self.channels)
