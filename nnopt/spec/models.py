"""Models of a spec. The number of inputs and outputs comes from the data and the loss."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from nnopt.spec.backbones import Timm, Torchvision
from nnopt.spec.base import Items, Kinds
from nnopt.spec.model_base import ModelSpec
from nnopt.spec.model_shapes import (
    Activation,
    CnnBlock,
    CnnShape,
    MlpShape,
    NinBlockSpec,
    NinShape,
    Norm,
    Width,
    list_or,
)
from nnopt.spec.point import Point
from nnopt.spec.text_models import Lstm, Transformer

__all__ = ["MODELS", "ModelSpec"]

if TYPE_CHECKING:
    from torch import nn

Init = Literal[
    "default",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "lecun_normal",
    "orthogonal",
    "normal",
    "zeros",
]

Hidden = Annotated[Items[Width] | MlpShape, list_or(MlpShape, Items[Width])]

INIT_HELP = "initial weights; default is torch's own, biases are 0 for all others"


class Linear(ModelSpec):
    """Linear regression or, with cross_entropy, logistic regression: no hidden layer."""

    formula: ClassVar[str] = "z = Wx + b"

    kind: Literal["linear"]
    init: Init = Field("default", description=INIT_HELP)

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.initialise import initialise
        from nnopt.models.perceptron import perceptron

        return initialise(perceptron(input_shape, outputs), self.init)


class Mlp(ModelSpec):
    """Multi-layer perceptron: dense layers, each but the last followed by norm, activation and dropout."""

    formula: ClassVar[str] = "a⁰ = x, aˡ = σ(Wˡaˡ⁻¹ + bˡ), z = Wa + b"

    kind: Literal["mlp"]
    hidden: Hidden = Field(
        (128,), description="widths of the hidden layers; [] for none; or {width, depth, taper} (`nnopt parts hidden`)"
    )
    activation: Activation = Field("relu", description="after each hidden layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the hidden units dropped in training")
    norm: Norm = Field("none", description="before each activation")
    connections: Literal["plain", "residual", "dense"] = Field(
        "plain",
        description="past the hidden layers: residual adds a layer's inputs to its outputs where both have one width "
        "(not those of the first layer), dense lays them side by side, for all layers after it",
    )
    init: Init = Field("default", description=INIT_HELP)
    output_activation: Literal["none", "sigmoid", "tanh"] = Field(
        "none", description="after the last layer: sigmoid with mse is the textbook's network"
    )

    @model_validator(mode="after")
    def _something_to_add(self) -> Mlp:
        widths = _widths(self.hidden)
        # One hidden layer by its numbers is a place that a search over the depth comes by.
        alone = len(widths) < 2 and isinstance(self.hidden, MlpShape)
        if self.connections == "residual" and not alone and all(a != b for a, b in pairwise(widths)):
            raise ValueError(
                "connections: residual adds a layer's inputs to its outputs, and no two neighbouring hidden layers are "
                "of one width: make two of them equal, or take dense"
            )
        return self

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.initialise import initialise
        from nnopt.models.perceptron import perceptron

        model = perceptron(
            input_shape,
            outputs,
            _widths(self.hidden),
            self.activation,
            self.dropout,
            self.norm,
            self.output_activation,
            self.connections,
        )
        return initialise(model, self.init)


class Cnn(ModelSpec):
    """Convolutional network: blocks of convolution, norm, activation and pooling, then dense layers."""

    kind: Literal["cnn"]
    blocks: Annotated[Items[CnnBlock] | CnnShape, list_or(CnnShape, Items[CnnBlock])] = Field(
        (CnnBlock(channels=16, pool="max"), CnnBlock(channels=32, pool="max")),
        description="the blocks, first to last: channels, kernel, stride, norm, activation, pool, dropout, block, "
        "expansion (`nnopt parts block`); or {depth, channels, growth, kernel, ...} for blocks that are all alike "
        "(`nnopt parts blocks`)",
    )
    hidden: Hidden = Field(
        (64,), description="widths of the dense layers after the blocks; [] for none; or {width, depth, taper}"
    )
    activation: Activation = Field("relu", description="after each of those dense layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the dense layers' units dropped in training")
    init: Init = Field("default", description=INIT_HELP)

    @model_validator(mode="after")
    def _some_block(self) -> Cnn:
        if not self.blocks:
            raise ValueError("blocks should hold at least one block; a model without is an mlp")
        return self

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.cnn import alike_blocks, cnn
        from nnopt.models.initialise import initialise
        from nnopt.models.shapes import image_shape

        _, *size = image_shape("cnn", input_shape)
        if isinstance(self.blocks, CnnShape):
            shape = self.blocks
            blocks = alike_blocks(shape.first().plain(), shape.depth, shape.growth, *size)
        else:
            blocks = [block.plain() for block in self.blocks]
        model = cnn(input_shape, outputs, blocks, _widths(self.hidden), self.activation, self.dropout)
        return initialise(model, self.init)


class Nin(ModelSpec):
    """Network in network: convolutions each followed by 1x1 ones, and a mean over the pixels in place of dense layers.

    The default is the published network for images of 32x32 pixels, which has 966,986 parameters with 10 classes.
    """

    formula: ClassVar[str] = "block: σ(1x1(... σ(1x1(σ(convolution))))), z = mean over pixels of 1x1(a)"
    source: ClassVar[str] = "Lin et al. 2013, arXiv:1312.4400"

    kind: Literal["nin"]
    blocks: Annotated[Items[NinBlockSpec] | NinShape, list_or(NinShape, Items[NinBlockSpec])] = Field(
        (
            NinBlockSpec(channels=192, kernel=5, inner=(160, 96), pool="max", dropout=0.5),
            NinBlockSpec(channels=192, kernel=5, inner=(192, 192), pool="average", dropout=0.5),
            NinBlockSpec(channels=192, kernel=3, inner=(192,)),
        ),
        description="the blocks, first to last: channels, kernel, inner, pool, dropout (`nnopt parts nin_block`); or "
        "{depth, channels, growth, kernel, ...} for blocks that are all alike (`nnopt parts nin_blocks`)",
    )
    activation: Activation = Field("relu", description="after each convolution but the last")
    norm: Norm = Field("none", description="before each activation")
    init: Init = Field("default", description=INIT_HELP)

    @model_validator(mode="after")
    def _some_block(self) -> Nin:
        if not self.blocks:
            raise ValueError("blocks should hold at least one block")
        return self

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.initialise import initialise
        from nnopt.models.nin import NinBlock, nin

        listed = self.blocks.listed() if isinstance(self.blocks, NinShape) else self.blocks
        blocks = [NinBlock(**block.model_dump()) for block in listed]
        return initialise(nin(input_shape, outputs, blocks, self.activation, self.norm), self.init)


class Lenet(ModelSpec):
    """LeNet-5: two convolutions with pooling, three dense layers; images of at least 28x28 pixels."""

    source: ClassVar[str] = "LeCun et al. 1998, Gradient-based learning applied to document recognition"

    kind: Literal["lenet"]
    activation: Activation = Field("tanh", description="after each layer but the last")
    pool: Literal["max", "average"] = Field("average", description="what halves rows and columns")
    init: Init = Field("default", description=INIT_HELP)

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.initialise import initialise
        from nnopt.models.lenet import lenet

        return initialise(lenet(input_shape, outputs, self.activation, self.pool), self.init)


class Resnet(ModelSpec):
    """Residual network for small images, of 6n + 2 layers, or 9n + 2 with bottleneck blocks."""

    formula: ClassVar[str] = "block: relu(x + f(x)), f two 3x3 convolutions with batch norms, or 1x1, 3x3, 1x1"
    source: ClassVar[str] = "He et al. 2015, arXiv:1512.03385, section 4.2"

    kind: Literal["resnet"]
    depth: int = Field(
        20, ge=8, le=1202, description="layers: 8, 14, 20, 32, 44, 56, 110, ...; bottleneck: 11, 20, 29, 56, 164, ..."
    )
    width: int = Field(
        16, gt=0, description="channels of the first stage; the others have twice and four times as many"
    )
    block: Literal["basic", "bottleneck"] = Field(
        "basic", description="two 3x3 convolutions, or 1x1, 3x3 and 1x1 with four times the channels between the blocks"
    )
    shortcut: Literal["pad", "projection"] = Field(
        "pad", description="where channels grow: new ones start at zero (option A), or a 1x1 convolution (option B)"
    )
    init: Init = Field("kaiming_normal", description=INIT_HELP)

    @model_validator(mode="after")
    def _whole_blocks(self) -> Resnet:
        layers = 6 if self.block == "basic" else 9
        below = (self.depth - 2) // layers * layers + 2
        if below != self.depth:
            fitting = f"{below} or {below + layers}" if below > 2 else f"{below + layers}"
            with_blocks = "" if self.block == "basic" else " with bottleneck blocks"
            raise ValueError(f"depth should be {layers}n + 2{with_blocks}, as {fitting}, not {self.depth}")
        return self

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.initialise import initialise
        from nnopt.models.resnet import resnet

        model = resnet(input_shape, outputs, self.depth, self.width, self.block, self.shortcut)
        return initialise(model, self.init)


def _widths(hidden: tuple[int, ...] | MlpShape) -> tuple[int, ...]:
    """The widths of dense layers, however they are written."""
    return hidden.widths() if isinstance(hidden, MlpShape) else hidden


MODELS = Kinds("model", ModelSpec, (Linear, Mlp, Cnn, Lenet, Nin, Resnet, Torchvision, Timm, Point, Transformer, Lstm))
