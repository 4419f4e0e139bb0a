"""Image files of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from nnopt.spec.base import NOT_IDENTITY, Items
from nnopt.spec.data.base import NORMALISE_HELP, Normalise
from nnopt.spec.data.streaming import StreamingSpec

if TYPE_CHECKING:
    from nnopt.data.raw import Raw
    from nnopt.data.sources.image_files import Making

Pixels = Annotated[int, Field(gt=0, le=10_000)]
Size = Pixels | Annotated[Items[Pixels], Field(min_length=2, max_length=2)]
SIZE_HELP = "what every image is made: [rows, columns], or one number for both; else they must all be of one size"
FIT_HELP = (
    "how an image of other proportions is brought to the size: stretch (its proportions change), crop (its middle), "
    "pad (whole, with black beside it)"
)
CHANNELS_HELP = "1 grey, 3 colour; else grey where all images are, and colour where one is not"
OWN_ROOT_HELP = (
    "folder in which files are looked for that are not in the working directory; else the environment variable "
    "NNOPT_DATA_DIR, else the user's cache folder"
)


class ImageKeys(StreamingSpec):
    """A source of images: what they are made."""

    size: Size | None = Field(None, description=SIZE_HELP)
    fit: Literal["stretch", "crop", "pad"] = Field("stretch", description=FIT_HELP)
    channels: Literal[1, 3] | None = Field(None, description=CHANNELS_HELP)

    @property
    def making(self) -> Making:
        """The same as plain values."""
        from nnopt.data.sources.image_files import Making

        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        return Making(None if size is None else (size[0], size[1]), self.channels, self.fit)


class Images(ImageKeys):
    """Image files (PNG, JPEG, ... all that Pillow reads) in a folder a class, or listed with their labels in a CSV.

    The folder may hold `train`, `validation` and `test` folders, which hold those of the classes: then the parts are
    these, and `validation` and `test` say only how many rows to draw for one that is not there.
    """

    source: ClassVar[str] = "files of your own; Pillow, https://python-pillow.org"
    own_files: ClassVar[tuple[str, ...]] = ("path", "labels")

    kind: Literal["images"]
    path: str = Field(min_length=1, pattern=r"^[^\x00]+$", description="the folder of the images")
    labels: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[^\x00]+$",
        description="a CSV with a row an image and a header; else the name of an image's folder is its class",
    )
    file_column: str = Field("path", min_length=1, description="its column of the images' paths in the folder `path`")
    label_column: str | Annotated[Items[str], Field(min_length=1)] = Field(
        "label",
        description="its column of the classes or numbers; several for several numbers, or for labels of 0 and 1",
    )
    task: Literal["classification", "regression", "multilabel"] = Field(
        "classification", description="what the labels are: classes, numbers, or a 0 or 1 for each of several labels"
    )
    normalise: Normalise = Field("unit", description=NORMALISE_HELP)
    root: str | None = Field(None, pattern=r"^[^\x00]+$", description=OWN_ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    @model_validator(mode="after")
    def _folders_are_classes(self) -> Images:
        if self.labels is None and self.task != "classification":
            raise ValueError(f"task {self.task} needs a CSV of labels: name it by labels: FILE.csv")
        if self.task == "classification" and not isinstance(self.label_column, str) and len(self.label_column) > 1:
            raise ValueError("label_column: classes are in one column; for labels of 0 and 1 write task: multilabel")
        return self

    def read(self) -> Raw:
        """The content of the files."""
        from nnopt.data.sources.images import Labels, read_images

        columns = (self.label_column,) if isinstance(self.label_column, str) else self.label_column
        labels = None if self.labels is None else Labels(self.labels, self.file_column, columns)
        return read_images(self.path, self.root, labels, self.task, self.making)
