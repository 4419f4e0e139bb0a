"""`data.augment`: random changes of training samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from nnopt.errors import DataError
from nnopt.spec.base import Kinds, KindSpec

if TYPE_CHECKING:
    from nnopt.data.augment.pixels import Pixels
    from nnopt.data.augment.transform import Transform
    from nnopt.data.dataset import Dataset

SHARE_HELP = "of the samples that are changed"
FILL_HELP = "what is seen beyond the edge: black, the edge's own pixels going on, or the image mirrored"
Fill = Literal["black", "edge", "mirror"]


class AugmentSpec(KindSpec):
    """A random change of training samples."""

    # Whether samples are mixed with each other, and their targets with them.
    mixes: ClassVar[bool] = False
    # Whether it reads no number on the host, so that updates can be recorded once and replayed (strategy.graph).
    recordable: ClassVar[bool] = True

    @abstractmethod
    def build(self, data: Dataset) -> Transform:
        """What changes batches of the training part of `data`.

        Raises:
            DataError: this change is not one for such data, in words.
        """


class _OfImages(AugmentSpec):
    share: float = Field(1.0, gt=0, le=1, description=SHARE_HELP)

    def _pixels(self, data: Dataset) -> Pixels:
        """The range of the pixels of `data`, after a check that it has any."""
        from nnopt.data.augment.pixels import Pixels
        from nnopt.data.augment.transform import check_images

        check_images(self.kind, data)
        return Pixels.of(data)


class HorizontalFlip(_OfImages):
    """Mirrors an image from left to right."""

    kind: Literal["horizontal_flip"]
    share: float = Field(0.5, gt=0, le=1, description=SHARE_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.geometry import Flip

        return Flip(-1, self.share, self._pixels(data))


class VerticalFlip(_OfImages):
    """Mirrors an image upside down."""

    kind: Literal["vertical_flip"]
    share: float = Field(0.5, gt=0, le=1, description=SHARE_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.geometry import Flip

        return Flip(-2, self.share, self._pixels(data))


class Rotation(_OfImages):
    """Turns an image around its middle."""

    formula: ClassVar[str] = "an angle from −degrees to degrees, all alike"

    kind: Literal["rotation"]
    degrees: float = Field(15.0, gt=0, le=180, description="the largest angle, to either side")
    fill: Fill = Field("black", description=FILL_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.geometry import Rotation as Built

        return Built(self.degrees, self.share, self.fill, self._pixels(data))


class Scaling(_OfImages):
    """Makes what an image shows smaller or larger, the middle staying where it is."""

    formula: ClassVar[str] = "a factor from smallest to largest, all alike"

    kind: Literal["scaling"]
    smallest: float = Field(0.9, gt=0, le=10, description="the smallest factor: below 1 things get smaller")
    largest: float = Field(1.1, gt=0, le=10, description="the largest factor")
    fill: Fill = Field("black", description=FILL_HELP)

    @model_validator(mode="after")
    def _in_order(self) -> Scaling:
        _check_order(self.smallest, self.largest)
        return self

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.geometry import Zoom

        return Zoom(self.smallest, self.largest, self.share, self.fill, self._pixels(data))


class Translation(_OfImages):
    """Moves an image to the side and up or down."""

    formula: ClassVar[str] = "from −amount to amount of the width, and of the height by a draw of its own"

    kind: Literal["translation"]
    amount: float = Field(0.1, gt=0, le=1, description="the largest move, as a share of the width and of the height")
    fill: Fill = Field("black", description=FILL_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.geometry import Translation as Built

        return Built(self.amount, self.share, self.fill, self._pixels(data))


class Shear(_OfImages):
    """Slants an image, its rows and its columns by an angle each."""

    formula: ClassVar[str] = "angles from −degrees to degrees, all alike"

    kind: Literal["shear"]
    degrees: float = Field(10.0, gt=0, le=40, description="the largest angle, to either side")
    fill: Fill = Field("black", description=FILL_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.geometry import Shear as Built

        return Built(self.degrees, self.share, self.fill, self._pixels(data))


class Crop(AugmentSpec):
    """Adds a margin to an image and cuts a window of the old size out of it: a move by whole pixels."""

    kind: Literal["crop"]
    padding: int = Field(4, gt=0, le=10_000, description="pixels added on every side")
    fill: Fill = Field("black", description="what the margin holds, as for rotation")

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.crop import Crop as Built
        from nnopt.data.augment.pixels import Pixels
        from nnopt.data.augment.transform import check_images

        check_images(self.kind, data)
        smallest = min(data.input_shape[1:])
        if self.fill == "mirror" and self.padding >= smallest:
            raise DataError(
                f"data.augment: crop cannot mirror a margin of {self.padding} pixels from images of {smallest}: "
                "take less padding"
            )
        return Built(self.padding, self.fill, Pixels.of(data))


class ColourJitter(_OfImages):
    """Changes brightness, contrast, saturation and hue, in this order, each by a draw of its own."""

    formula: ClassVar[str] = "factors from 1 − b to 1 + b; a hue turned by −hue to hue of the circle; cut to 0 ... 1"

    kind: Literal["colour_jitter"]
    brightness: float = Field(0.0, ge=0, le=10, description="largest change of the factor away from black")
    contrast: float = Field(0.0, ge=0, le=10, description="the same, away from the image's mean brightness")
    saturation: float = Field(0.0, ge=0, le=10, description="the same, away from grey; for images with colours")
    hue: float = Field(0.0, ge=0, le=0.5, description="largest turn, as a share of the circle of hues")

    @model_validator(mode="after")
    def _changes_something(self) -> ColourJitter:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise ValueError("should change something: give brightness, contrast, saturation or hue a value above 0")
        return self

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.colour import ColourJitter as Built

        pixels = self._pixels(data)
        if (self.saturation or self.hue) and data.input_shape[0] != 3:
            raise DataError(
                "data.augment: colour_jitter changes saturation and hue of images with 3 channels; "
                f"this data gives {data.describe_inputs()}"
            )
        return Built(self.brightness, self.contrast, self.saturation, self.hue, self.share, pixels)


class Noise(AugmentSpec):
    """Adds normal noise to every value: of images, or of the columns of a table."""

    formula: ClassVar[str] = "x + std · ε, ε from N(0, 1)"

    kind: Literal["noise"]
    std: float = Field(0.1, gt=0, le=1e6, description="standard deviation, in units of the inputs as they are scaled")
    share: float = Field(1.0, gt=0, le=1, description=SHARE_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.noise import Noise as Built
        from nnopt.data.augment.transform import check_values

        check_values(self.kind, data)
        return Built(self.std, self.share)


class Blur(_OfImages):
    """Blurs an image by a Gaussian bell."""

    formula: ClassVar[str] = "weights exp(−d²/2σ²) up to 3 times the largest σ, σ from smallest to largest, all alike"

    kind: Literal["blur"]
    smallest: float = Field(0.1, gt=0, le=100, description="the smallest σ, in pixels")
    largest: float = Field(1.0, gt=0, le=100, description="the largest σ, in pixels")
    share: float = Field(0.5, gt=0, le=1, description=SHARE_HELP)

    @model_validator(mode="after")
    def _in_order(self) -> Blur:
        _check_order(self.smallest, self.largest)
        return self

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.noise import Blur as Built

        self._pixels(data)
        return Built(self.smallest, self.largest, self.share)


class Cutout(_OfImages):
    """Blackens a square around a pixel drawn at random."""

    source: ClassVar[str] = "DeVries and Taylor 2017, arXiv:1708.04552"

    kind: Literal["cutout"]
    size: int = Field(gt=0, le=10_000, description="side of the square in pixels")

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.noise import Cutout as Built

        return Built(self.size, self.share, self._pixels(data))


class MixUp(AugmentSpec):
    """Mixes every sample with another of its batch, and their targets alike."""

    formula: ClassVar[str] = "x = λx + (1 − λ)x′, y = λy + (1 − λ)y′, λ from Beta(α, α) for each sample"
    source: ClassVar[str] = "Zhang et al. 2018, arXiv:1710.09412"
    mixes: ClassVar[bool] = True

    kind: Literal["mixup"]
    alpha: float = Field(0.2, ge=0.01, le=1000, description="α: the larger, the more even the mixture")
    share: float = Field(1.0, gt=0, le=1, description=SHARE_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.mixing import MixUp as Built
        from nnopt.data.augment.mixing import check_can_mix
        from nnopt.data.augment.transform import check_values

        check_values(self.kind, data)
        check_can_mix(self.kind, data)
        return Built(self.alpha, self.share, data)


class CutMix(_OfImages):
    """Lays a rectangle of another image of the batch over an image; targets are mixed by area."""

    formula: ClassVar[str] = "a rectangle of the share 1 − λ of the area, λ from Beta(α, α) for each sample"
    source: ClassVar[str] = "Yun et al. 2019, arXiv:1905.04899"
    mixes: ClassVar[bool] = True

    kind: Literal["cutmix"]
    alpha: float = Field(1.0, ge=0.01, le=1000, description="α: 1 makes all areas alike")
    share: float = Field(0.5, gt=0, le=1, description=SHARE_HELP)

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.mixing import CutMix as Built
        from nnopt.data.augment.mixing import check_can_mix

        self._pixels(data)
        check_can_mix(self.kind, data)
        return Built(self.alpha, self.share, data)


class RandAugment(AugmentSpec):
    """A few of fourteen changes of images, drawn for every sample, all of one strength."""

    formula: ClassVar[str] = (
        "identity, autocontrast, equalise, solarise, posterise, brightness, contrast, sharpness, saturation, rotation, "
        "shears and moves along both sides"
    )
    source: ClassVar[str] = "Cubuk et al. 2019, arXiv:1909.13719; strengths as in torchvision"

    recordable: ClassVar[bool] = False
    kind: Literal["randaugment"]
    operations: int = Field(2, gt=0, le=20, description="changes of a sample, one after the other (the paper's N)")
    strength: float = Field(9.0, ge=0, le=30, description="how strong they are, 30 at most (the paper's M)")

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.pixels import Pixels
        from nnopt.data.augment.randaugment import RandAugment as Built
        from nnopt.data.augment.transform import check_images

        check_images(self.kind, data)
        if min(data.input_shape[1:]) < 3:
            raise DataError(f"data.augment: randaugment needs 3x3 pixels; this data gives {data.describe_inputs()}")
        return Built(self.operations, self.strength, Pixels.of(data), data.input_shape)


class TokenMasking(AugmentSpec):
    """Replaces tokens that a model reads by others drawn at random; those it is to answer stay."""

    kind: Literal["token_masking"]
    share: float = Field(0.1, gt=0, lt=1, description="of the tokens that are replaced")

    @override
    def build(self, data: Dataset) -> Transform:
        from nnopt.data.augment.tokens import TokenMasking as Built

        if data.task != "language":
            raise DataError(f"data.augment: token_masking changes texts; this data gives {data.describe_inputs()}")
        return Built(self.share, data.outputs)


def _check_order(smallest: float, largest: float) -> None:
    if smallest > largest:
        raise ValueError(f"smallest ({smallest:g}) should not be above largest ({largest:g})")


AUGMENTS = Kinds(
    "augmentation",
    AugmentSpec,
    (
        *(HorizontalFlip, VerticalFlip, Rotation, Scaling, Translation, Shear, Crop),
        *(ColourJitter, Noise, Blur, Cutout, MixUp, CutMix, RandAugment, TokenMasking),
    ),
)
