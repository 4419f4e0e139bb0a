"""Network in network (Lin et al. 2013, arXiv:1312.4400): convolutions with a small perceptron at every pixel.

A block is a convolution followed by 1x1 convolutions, each with its activation, and 3x3 pooling at stride 2. The last
block ends in a 1x1 convolution with one map for each output, without activation, whose mean over the pixels is the
output: there are no dense layers. On 3x32x32 images, 10 classes, the published network has 966,986 parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from nnopt.models.layers import ACTIVATIONS, image_norm
from nnopt.models.shapes import image_shape

# Overlapping windows that halve an odd size upwards, so that no image is too small.
OVERLAPPING_POOLS: dict[str, Callable[[], nn.Module]] = {
    "max": partial(nn.MaxPool2d, 3, 2, padding=1),
    "average": partial(nn.AvgPool2d, 3, 2, padding=1, count_include_pad=False),
}


@dataclass(frozen=True)
class NinBlock:
    """A convolution of an odd `kernel`, 1x1 convolutions to `inner` channels, 3x3 pooling, dropout."""

    channels: int
    kernel: int
    inner: tuple[int, ...]
    pool: str = "none"
    dropout: float = 0.0

    def layers(self, inputs: int, activation: str, norm: str) -> list[nn.Module]:
        """The block's layers on images of `inputs` channels."""
        layers: list[nn.Module] = []
        for channels, kernel in ((self.channels, self.kernel), *((width, 1) for width in self.inner)):
            # A batch norm takes the mean away, and a bias with it.
            layers.append(nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, bias=norm != "batch"))
            layers += [*image_norm(norm, channels), ACTIVATIONS[activation]()]
            inputs = channels
        if self.pool != "none":
            layers.append(OVERLAPPING_POOLS[self.pool]())
        if self.dropout:
            layers.append(nn.Dropout(self.dropout))
        return layers

    @property
    def outputs(self) -> int:
        """Channels that the block gives."""
        return self.inner[-1] if self.inner else self.channels


def nin(
    input_shape: tuple[int, ...],
    outputs: int,
    blocks: Sequence[NinBlock],
    activation: str = "relu",
    norm: str = "none",
) -> nn.Sequential:
    """Images [n, channels, height, width] through `blocks` to maps of the outputs and their means [n, outputs].

    Raises:
        DataError: inputs that are no images, or images of less than 8x8 pixels.
    """
    inputs, _, _ = image_shape("nin", input_shape, smallest=8)
    layers: list[nn.Module] = []
    for block in blocks:
        layers += block.layers(inputs, activation, norm)
        inputs = block.outputs
    return nn.Sequential(*layers, nn.Conv2d(inputs, outputs, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
