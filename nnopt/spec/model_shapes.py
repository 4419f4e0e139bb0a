"""Shapes of a model's layers: blocks one by one, and mappings of a few numbers that a search can turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from nnopt.spec.base import Items, Spec

if TYPE_CHECKING:
    from nnopt.models.cnn import Block

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh"]
Norm = Literal["none", "batch", "layer"]
Pool = Literal["none", "max", "average"]
Width = Annotated[int, Field(gt=0)]
MOST_LAYERS, MOST_CHANNELS = 100, 100_000


def list_or(mapping: type[Spec], items: Any) -> WrapValidator:
    """Takes a list of `items`, or the keys of `mapping`, which say the same in a few numbers.

    Names of places (`hidden.0`) are no keys of a mapping: they are meant for a list.
    """
    lists: TypeAdapter[Any] = TypeAdapter(items, config=ConfigDict(strict=True))

    def choose(value: Any, _handler: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, mapping):
            return value
        of_places = isinstance(value, dict) and value and all(str(name).isdecimal() for name in value)
        if isinstance(value, dict) and not of_places:
            return mapping.model_validate(value)
        return lists.validate_python(value)

    return WrapValidator(choose)


class MlpShape(Spec):
    """Hidden layers by a few numbers: {width: 64, depth: 3, taper: 0.5} is [64, 32, 16]."""

    width: int = Field(gt=0, le=MOST_CHANNELS, description="units of the first hidden layer")
    depth: int = Field(1, gt=0, le=MOST_LAYERS, description="how many hidden layers")
    taper: float = Field(
        1.0, gt=0, le=4, description="each layer's units for one of the layer before, rounded; at least one unit"
    )

    def widths(self) -> tuple[int, ...]:
        """The same as a list."""
        return tuple(max(1, round(self.width * self.taper**place)) for place in range(self.depth))


class _CnnBlockKeys(Spec):
    """What is said of one cnn block, or of all."""

    channels: int = Field(gt=0, description="how many images the block gives")
    kernel: int = Field(3, gt=0, description="rows and columns of the window, padded by (kernel - 1) // 2")
    stride: int = Field(1, gt=0, description="step of the window in pixels")
    norm: Norm = Field("none", description="before the activation")
    activation: Activation = Field("relu", description="after the norm")
    pool: Pool = Field("none", description="what halves rows and columns")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the block's outputs dropped in training")
    block: Literal["plain", "residual", "separable", "bottleneck"] = Field(
        "plain",
        description="plain: one convolution; residual: two, to which the inputs are added; separable: each channel by "
        "itself, then 1x1; bottleneck: 1x1 to fewer channels, the kernel there, 1x1 back, to which the inputs are "
        "added",
    )
    expansion: int | None = Field(
        None, gt=0, description="channels of a bottleneck for each one in its middle; 4 where it is left out"
    )

    @model_validator(mode="after")
    def _block_fits(self) -> _CnnBlockKeys:
        if self.block in ("residual", "bottleneck") and self.kernel % 2 == 0:
            raise ValueError(
                f"kernel should be odd in a {self.block} block, not {self.kernel}: what is added has the same pixels"
            )
        if self.expansion is not None and self.block != "bottleneck":
            raise ValueError(f"expansion is a key of bottleneck blocks, and this is a {self.block} one: leave it out")
        return self


class CnnBlock(_CnnBlockKeys):
    """One block of a cnn: convolution, norm, activation, 2x2 pooling, dropout."""

    def plain(self) -> Block:
        """The block as the models take it."""
        from nnopt.models.cnn import Block

        return Block(**self.model_dump(exclude_none=True))


class CnnShape(_CnnBlockKeys):
    """Blocks of a cnn that are all alike, by a few numbers; the defaults are those of a cnn without `blocks`."""

    channels: int = Field(16, gt=0, le=MOST_CHANNELS, description="how many images the first block gives")
    depth: int = Field(2, gt=0, le=MOST_LAYERS, description="how many blocks")
    growth: float = Field(
        2.0, gt=0, le=4, description="each block's channels for one of the block before, rounded; at least one"
    )
    pool: Pool = Field(
        "max", description="what halves rows and columns after each block, as long as there are two of them"
    )

    @model_validator(mode="after")
    def _keeps_pixels(self) -> CnnShape:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel should be odd, not {self.kernel}: blocks that are all alike keep the pixels")
        return self

    def first(self) -> CnnBlock:
        """The first block."""
        return CnnBlock(**self.model_dump(exclude={"depth", "growth"}))


class _NinBlockKeys(Spec):
    """What is said of one block of a nin, or of all."""

    channels: int = Field(gt=0, description="how many images the convolution gives")
    kernel: int = Field(3, gt=0, description="rows and columns of the window, an odd number")
    pool: Pool = Field("none", description="what halves rows and columns")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the block's outputs dropped in training")

    @model_validator(mode="after")
    def _keeps_pixels(self) -> _NinBlockKeys:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel should be odd, not {self.kernel}: the images keep their pixels")
        return self


class NinBlockSpec(_NinBlockKeys):
    """One block of a nin: a convolution, 1x1 convolutions, 3x3 pooling at stride 2, dropout."""

    inner: Items[Width] = Field(
        description="channels of the 1x1 convolutions after it; the last block has one more, with a map an output"
    )


class NinShape(_NinBlockKeys):
    """Blocks of a nin that are all alike, by a few numbers."""

    channels: int = Field(gt=0, le=MOST_CHANNELS, description="channels of the first block's convolutions")
    depth: int = Field(3, gt=0, le=MOST_LAYERS, description="how many blocks")
    growth: float = Field(
        1.0, gt=0, le=4, description="each block's channels for one of the block before, rounded; at least one"
    )
    inner: int = Field(2, ge=0, le=MOST_LAYERS, description="1x1 convolutions after each convolution")
    pool: Pool = Field("max", description="what halves rows and columns after each block but the last")

    def listed(self) -> tuple[NinBlockSpec, ...]:
        """The same as a list; the last block has one 1x1 convolution less, as that with a map an output follows."""
        widths = [max(1, round(self.channels * self.growth**place)) for place in range(self.depth)]
        return tuple(
            NinBlockSpec(
                channels=width,
                kernel=self.kernel,
                inner=(width,) * (self.inner - is_last if self.inner else 0),
                pool="none" if is_last else self.pool,
                dropout=0.0 if is_last else self.dropout,
            )
            for is_last, width in ((place == self.depth - 1, width) for place, width in enumerate(widths))
        )
