"""Convolutional networks of blocks, then dense layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from nnopt.errors import DataError
from nnopt.models.layers import ACTIVATIONS, IMAGE_NORMS, dense_layers
from nnopt.models.shapes import image_shape

POOLS: dict[str, Callable[[int], nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


@dataclass(frozen=True)
class Block:
    """Convolution, norm, activation, 2x2 pooling, dropout.

    The convolution is padded by (kernel - 1) // 2: at stride 1 an odd kernel keeps the image's size.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    norm: str = "none"
    activation: str = "relu"
    pool: str = "none"
    dropout: float = 0.0

    @property
    def padding(self) -> int:
        """Rows and columns of zeros on each side of the image."""
        return (self.kernel - 1) // 2

    def layers(self, channels: int) -> list[nn.Module]:
        """The block's layers on images of `channels` channels."""
        bias = self.norm != "batch"
        layers: list[nn.Module] = [
            nn.Conv2d(channels, self.channels, self.kernel, self.stride, self.padding, bias=bias)
        ]
        if self.norm != "none":
            layers.append(IMAGE_NORMS[self.norm](self.channels))
        layers.append(ACTIVATIONS[self.activation]())
        if self.pool != "none":
            layers.append(POOLS[self.pool](2))
        if self.dropout:
            layers.append(nn.Dropout(self.dropout))
        return layers

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
