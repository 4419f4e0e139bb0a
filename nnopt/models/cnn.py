"""Convolutional networks of blocks, then dense layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from nnopt.errors import DataError
from nnopt.models.connections import Residual
from nnopt.models.layers import ACTIVATIONS, dense_layers, image_norm
from nnopt.models.shapes import image_shape

POOLS: dict[str, Callable[[int], nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


@dataclass(frozen=True)
class Block:
    """Convolution, norm, activation, 2x2 pooling, dropout.

    The convolution is padded by (kernel - 1) // 2: at stride 1 an odd kernel keeps the image's size. In its place:

    | block | what stands for the convolution |
    |---|---|
    | residual | two convolutions, past which the inputs are added (odd kernels) |
    | separable | a convolution of each channel by itself, then a 1x1 one; Howard et al. 2017, arXiv:1704.04861 |
    | bottleneck | 1x1 to channels / expansion, the kernel there, 1x1 back, past which the inputs are added |

    Where a residual or bottleneck block changes the images' shape, a 1x1 convolution brings the inputs into it (He
    et al. 2015, arXiv:1512.03385, option B).
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    norm: str = "none"
    activation: str = "relu"
    pool: str = "none"
    dropout: float = 0.0
    block: str = "plain"
    expansion: int = 4

    @property
    def padding(self) -> int:
        """Rows and columns of zeros on each side of the image."""
        return (self.kernel - 1) // 2

    def layers(self, channels: int) -> list[nn.Module]:
        """The block's layers on images of `channels` channels."""
        layers = self._convolutions(channels)
        if self.pool != "none":
            layers.append(POOLS[self.pool](2))
        if self.dropout:
            layers.append(nn.Dropout(self.dropout))
        return layers

    def _convolutions(self, channels: int) -> list[nn.Module]:
        active = ACTIVATIONS[self.activation]
        if self.block == "plain":
            return [*self._convolution(channels, self.channels, self.kernel, self.stride), active()]
        if self.block == "separable":
            by_itself = self._convolution(channels, channels, self.kernel, self.stride, groups=channels)
            return [*by_itself, active(), *self._convolution(channels, self.channels), active()]
        if self.block == "residual":
            inner = [
                *self._convolution(channels, self.channels, self.kernel, self.stride),
                active(),
                *self._convolution(self.channels, self.channels, self.kernel),
            ]
        else:
            narrow = max(1, self.channels // self.expansion)
            inner = [
                *self._convolution(channels, narrow),
                active(),
                *self._convolution(narrow, narrow, self.kernel, self.stride),
                active(),
                *self._convolution(narrow, self.channels),
            ]
        changes = self.stride > 1 or channels != self.channels
        shortcut = nn.Sequential(*self._convolution(channels, self.channels, 1, self.stride)) if changes else None
        return [Residual(nn.Sequential(*inner), shortcut, active())]

    def _convolution(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> list[nn.Module]:
        """A convolution and its norm; a batch norm takes the mean away, and a bias with it."""
        bias = self.norm != "batch"
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=bias)
        return [convolution, *image_norm(self.norm, outputs)]

    def size(self, size: int, number: int) -> int:
        """Rows (or columns) of the block's images, given those of its inputs. `number` is for the message.

        Raises:
            DataError: nothing would be left.
        """
        padded = size + 2 * self.padding
        if padded < self.kernel:
            raise DataError(
                f"model cnn: block {number} has a kernel of {self.kernel} and images of {padded} pixels; "
                "take a smaller kernel, or fewer blocks with pool or stride"
            )
        convolved = (padded - self.kernel) // self.stride + 1
        if self.pool == "none":
            return convolved
        if convolved < 2:
            raise DataError(
                f"model cnn: block {number} pools an image that is 1 pixel wide or high; "
                "take fewer blocks with pool or stride"
            )
        return convolved // 2


def alike_blocks(first: Block, depth: int, growth: float, height: int, width: int) -> list[Block]:
    """`depth` blocks such as `first`, on images of `height` x `width` pixels.

    Each has `growth` times the channels of the one before, rounded; pooling ends where an image is 1 pixel wide or
    high.
    """
    blocks: list[Block] = []
    for place in range(depth):
        block = replace(first, channels=max(1, round(first.channels * growth**place)))
        unpooled = replace(block, pool="none")
        sizes = [unpooled.size(size, place + 1) for size in (height, width)]
        block = unpooled if min(sizes) < 2 else block
        blocks.append(block)
        height, width = block.size(height, place + 1), block.size(width, place + 1)
    return blocks


def cnn(
    input_shape: tuple[int, ...],
    outputs: int,
    blocks: Sequence[Block],
    hidden: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Images [n, channels, height, width] through `blocks` and dense layers to [n, outputs].

    Raises:
        DataError: inputs that are no images, or too small for these blocks.
    """
    channels, height, width = image_shape("cnn", input_shape)
    layers: list[nn.Module] = []
    for number, block in enumerate(blocks, start=1):
        height, width = block.size(height, number), block.size(width, number)
        layers += block.layers(channels)
        channels = block.channels
    dense = dense_layers(channels * height * width, hidden, outputs, activation, dropout, norm="none")
    return nn.Sequential(*layers, nn.Flatten(), *dense)
