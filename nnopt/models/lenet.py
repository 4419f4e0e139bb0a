"""LeNet-5 (LeCun et al. 1998, Gradient-based learning applied to document recognition, section II.B).

As usual today, every map of the second convolution sees all six of the first, pooling has no weights, and the
output is linear in place of distances to fixed patterns. On 1x32x32 images, 10 classes: 61,706 parameters.
"""

from __future__ import annotations

from torch import nn

from nnopt.models.cnn import POOLS
from nnopt.models.layers import ACTIVATIONS, dense_layers
from nnopt.models.shapes import image_shape


def lenet(input_shape: tuple[int, ...], outputs: int, activation: str = "tanh", pool: str = "average") -> nn.Sequential:
    """LeNet-5 on images [n, channels, height, width] of at least 28x28 pixels; outputs [n, outputs].

    Images of less than 32 rows or columns are padded by 2 on each side, as LeCun padded MNIST to 32x32.

    Raises:
        DataError: inputs that are no images, or smaller ones.
    """
    channels, height, width = image_shape("lenet", input_shape, smallest=28)
    padding = 2 if min(height, width) < 32 else 0
    rows, columns = (((size + 2 * padding - 4) // 2 - 4) // 2 for size in (height, width))
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=padding),
        ACTIVATIONS[activation](),
        POOLS[pool](2),
        nn.Conv2d(6, 16, 5),
        ACTIVATIONS[activation](),
        POOLS[pool](2),
        nn.Flatten(),
        *dense_layers(16 * rows * columns, (120, 84), outputs, activation, dropout=0.0, norm="none"),
    )
