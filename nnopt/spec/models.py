"""Models of a spec. The number of inputs and outputs comes from the data and the loss."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from nnopt.spec.base import Items, Kinds, KindSpec, Spec

if TYPE_CHECKING:
    from torch import nn

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh"]
Norm = Literal["none", "batch", "layer"]
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
Width = Annotated[int, Field(gt=0)]

INIT_HELP = "initial weights; default is torch's own, biases are 0 for all others"


class ModelSpec(KindSpec):
    """A network from inputs to outputs."""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """The model on the CPU, for inputs [n, *input_shape], with outputs [n, outputs].

        Its random initial weights come from torch's default generator.

        Raises:
            DataError: a model that does not fit these inputs, in words.
        """


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
    hidden: Items[Width] = Field((128,), description="widths of the hidden layers; [] for none")
    activation: Activation = Field("relu", description="after each hidden layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the hidden units dropped in training")
    norm: Norm = Field("none", description="before each activation")
    init: Init = Field("default", description=INIT_HELP)
    output_activation: Literal["none", "sigmoid", "tanh"] = Field(
        "none", description="after the last layer: sigmoid with mse is the textbook's network"
    )

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.initialise import initialise
        from nnopt.models.perceptron import perceptron

        model = perceptron(
            input_shape,
            outputs,
            self.hidden,
            self.activation,
            self.dropout,
            self.norm,
            self.output_activation,
        )
        return initialise(model, self.init)


class CnnBlock(Spec):
    """One block of a cnn: convolution, norm, activation, 2x2 pooling, dropout."""

    channels: int = Field(gt=0, description="how many images the convolution gives")
    kernel: int = Field(default=3, gt=0, description="rows and columns of the window, padded by (kernel - 1) // 2")
    stride: int = Field(default=1, gt=0, description="step of the window in pixels")
    norm: Norm = Field(default="none", description="before the activation")
    activation: Activation = Field(default="relu", description="after the norm")
    pool: Literal["none", "max", "average"] = Field(default="none", description="what halves rows and columns")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of the block's outputs dropped in training")


class Cnn(ModelSpec):
    """Convolutional network: blocks of convolution, norm, activation and pooling, then dense layers."""

    kind: Literal["cnn"]
    blocks: Items[CnnBlock] = Field(
        (CnnBlock(channels=16, pool="max"), CnnBlock(channels=32, pool="max")),
        description="the blocks, first to last: channels, kernel, stride, norm, activation, pool, dropout",
    )
    hidden: Items[Width] = Field((64,), description="widths of the dense layers after the blocks; [] for none")
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
        from nnopt.models.cnn import Block, cnn
        from nnopt.models.initialise import initialise

        blocks = [Block(**block.model_dump()) for block in self.blocks]
        model = cnn(input_shape, outputs, blocks, self.hidden, self.activation, self.dropout)
        return initialise(model, self.init)


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
    """Residual network for small images, of 6n + 2 layers."""

    formula: ClassVar[str] = "block: relu(x + f(x)), f two 3x3 convolutions with batch norms"
    source: ClassVar[str] = "He et al. 2015, arXiv:1512.03385, section 4.2"

    kind: Literal["resnet"]
    depth: int = Field(20, ge=8, le=1202, description="layers: 8, 14, 20, 32, 44, 56, 110, ... (6n + 2)")
    width: int = Field(
        16, gt=0, description="channels of the first stage; the others have twice and four times as many"
    )
    init: Init = Field("kaiming_normal", description=INIT_HELP)

    @model_validator(mode="after")
    def _whole_blocks(self) -> Resnet:
        if self.depth % 6 != 2:
            below = (self.depth - 2) // 6 * 6 + 2
            raise ValueError(f"depth should be 6n + 2, as {below} or {below + 6}, not {self.depth}")
        return self

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.initialise import initialise
        from nnopt.models.resnet import resnet

        return initialise(resnet(input_shape, outputs, self.depth, self.width), self.init)


MODELS = Kinds("model", ModelSpec, (Linear, Mlp, Cnn, Lenet, Resnet))
