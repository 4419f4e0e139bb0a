"""Residual networks for small images (He et al. 2015, arXiv:1512.03385, section 4.2).

6n + 2 layers: a convolution, three stages of n blocks of two 3x3 convolutions with `width`, 2 `width` and
4 `width` channels, a mean over the pixels, a dense layer. Where a stage halves the image, the shortcut takes
every second pixel and new channels start at zero (the paper's option A): it has no parameters.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nnopt.models.shapes import image_shape


class ResidualBlock(nn.Module):
    """relu(x + f(x)), f two 3x3 convolutions with batch norms; the first has stride 2 where channels grow."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.new_channels = channels - inputs
        self.stride = 2 if self.new_channels else 1
        self.convolution1 = nn.Conv2d(inputs, channels, 3, self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.convolution2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        """[n, inputs, height, width] -> [n, channels, height / stride, width / stride], rounded up."""
        inner = F.relu(self.norm1(self.convolution1(images)))
        return F.relu(self.shortcut(images) + self.norm2(self.convolution2(inner)))

    def shortcut(self, images: Tensor) -> Tensor:
        """The images in the shape of the block's outputs."""
        if self.stride == 1:
            return images
        before = self.new_channels // 2
        # Pairs from the last axis on: columns, rows, channels.
        return F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, before, self.new_channels - before))


def resnet(input_shape: tuple[int, ...], outputs: int, depth: int = 20, width: int = 16) -> nn.Sequential:
    """A residual network of `depth` = 6n + 2 layers on images [n, channels, height, width]; [n, outputs].

    Raises:
        DataError: inputs that are no images, or images of less than 8x8 pixels.
    """
    channels, _, _ = image_shape("resnet", input_shape, smallest=8)
    blocks: list[nn.Module] = []
    inputs = width
    for stage_channels in (width, 2 * width, 4 * width):
        for _ in range((depth - 2) // 6):
            blocks.append(ResidualBlock(inputs, stage_channels))
            inputs = stage_channels
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inputs, outputs),
    )
