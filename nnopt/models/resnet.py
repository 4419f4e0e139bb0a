"""Residual networks for small images (He et al. 2015, arXiv:1512.03385, section 4.2).

6n + 2 layers: a convolution, three stages of n blocks of two 3x3 convolutions with `width`, 2 `width` and
4 `width` channels, a mean over the pixels, a dense layer. With bottleneck blocks of three convolutions there are
9n + 2, and four times as many channels between the blocks (He et al. 2016, arXiv:1603.05027, appendix). Where a
stage halves the image, the shortcut takes every second pixel and new channels start at zero (the paper's option A:
it has no parameters), or it is a 1x1 convolution with batch norm (option B).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nnopt.models.shapes import image_shape

WIDENING = 4  # channels between bottleneck blocks for each one within


class _Shortcut(nn.Module):
    """What both kinds of block share: the images in the shape of the block's outputs."""

    def __init__(self, inputs: int, channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.new_channels = channels - inputs
        self.stride = stride
        self.relu = nn.ReLU()
        self.projection: nn.Module | None = None
        if shortcut == "projection" and (stride > 1 or self.new_channels):
            convolution = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            self.projection = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def shortcut(self, images: Tensor) -> Tensor:
        """The images in the shape of the block's outputs."""
        if self.projection is not None:
            projected: Tensor = self.projection(images)
            return projected
        if self.stride > 1:
            images = images[:, :, :: self.stride, :: self.stride]
        if not self.new_channels:
            return images
        before = self.new_channels // 2
        # Pairs from the last axis on: columns, rows, channels.
        return F.pad(images, (0, 0, 0, 0, before, self.new_channels - before))


class ResidualBlock(_Shortcut):
    """relu(x + f(x)), f two 3x3 convolutions with batch norms; the first has stride 2 where channels grow."""

    def __init__(self, inputs: int, channels: int, shortcut: str = "pad") -> None:
        super().__init__(inputs, channels, 2 if channels != inputs else 1, shortcut)
        self.convolution1 = nn.Conv2d(inputs, channels, 3, self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.convolution2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        """[n, inputs, height, width] -> [n, channels, height / stride, width / stride], rounded up."""
        inner = self.relu(self.norm1(self.convolution1(images)))
        total: Tensor = self.relu(self.shortcut(images) + self.norm2(self.convolution2(inner)))
        return total


class BottleneckBlock(_Shortcut):
    """relu(x + f(x)), f convolutions of 1x1, 3x3 (which has the stride) and 1x1, with batch norms."""

    def __init__(self, inputs: int, narrow: int, stride: int, shortcut: str = "pad") -> None:
        channels = WIDENING * narrow
        super().__init__(inputs, channels, stride, shortcut)
        self.convolution1 = nn.Conv2d(inputs, narrow, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(narrow)
        self.convolution2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.convolution3 = nn.Conv2d(narrow, channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        """[n, inputs, height, width] -> [n, 4 narrow, height / stride, width / stride], rounded up."""
        inner = self.relu(self.norm1(self.convolution1(images)))
        inner = self.relu(self.norm2(self.convolution2(inner)))
        total: Tensor = self.relu(self.shortcut(images) + self.norm3(self.convolution3(inner)))
        return total


def resnet(
    input_shape: tuple[int, ...],
    outputs: int,
    depth: int = 20,
    width: int = 16,
    block: str = "basic",
    shortcut: str = "pad",
) -> nn.Sequential:
    """A residual network of `depth` layers on images [n, channels, height, width]; [n, outputs].

    `depth` is 6n + 2 with basic blocks and 9n + 2 with bottleneck blocks.

    Raises:
        DataError: inputs that are no images, or images of less than 8x8 pixels.
    """
    channels, _, _ = image_shape("resnet", input_shape, smallest=8)
    blocks: list[nn.Module] = []
    inputs = width
    for stage in range(3):
        for place in range((depth - 2) // (6 if block == "basic" else 9)):
            narrow = width * 2**stage
            if block == "basic":
                blocks.append(ResidualBlock(inputs, narrow, shortcut))
                inputs = narrow
            else:
                blocks.append(BottleneckBlock(inputs, narrow, 2 if stage and not place else 1, shortcut))
                inputs = WIDENING * narrow
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inputs, outputs),
    )
