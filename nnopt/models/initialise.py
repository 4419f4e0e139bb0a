"""Initial weights by name.

| name | weights |
|---|---|
| default | torch's own: U(−1/√n_in, 1/√n_in), for biases too |
| xavier_uniform, xavier_normal | variance 2/(n_in + n_out); Glorot and Bengio 2010 |
| kaiming_uniform, kaiming_normal | variance 2/n_in; He et al. 2015, arXiv:1502.01852 |
| lecun_normal | variance 1/n_in; LeCun et al. 1998, Efficient BackProp |
| orthogonal | a random orthogonal matrix; Saxe et al. 2013, arXiv:1312.6120 |
| normal | N(0, 0.01²); Krizhevsky et al. 2012 |
| zeros | 0: right for a linear model, which has no symmetry to break |

n_in and n_out count a convolution's window: channels x height x width. Biases are 0, but for default.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import init
from torch.nn.modules.conv import _ConvNd


def lecun_normal(weight: Tensor) -> None:
    """N(0, 1/n_in) for a weight [n_out, n_in, *window]."""
    init.normal_(weight, std=1 / math.sqrt(weight[0].numel()))


def kaiming_uniform(weight: Tensor) -> None:
    """U(−a, a) with a = √(6/n_in), for a weight [n_out, n_in, *window]."""
    init.kaiming_uniform_(weight, nonlinearity="relu")


def kaiming_normal(weight: Tensor) -> None:
    """N(0, 2/n_in) for a weight [n_out, n_in, *window]."""
    init.kaiming_normal_(weight, nonlinearity="relu")


def small_normal(weight: Tensor) -> None:
    """N(0, 0.01²)."""
    init.normal_(weight, std=0.01)


INITIALISERS: dict[str, Callable[[Tensor], object]] = {
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal": init.xavier_normal_,
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "lecun_normal": lecun_normal,
    "orthogonal": init.orthogonal_,
    "normal": small_normal,
    "zeros": init.zeros_,
}


def initialise(model: nn.Module, name: str) -> nn.Module:
    """`model`, its dense and convolutional layers set to initial weights; random ones from torch's generator.

    `default` leaves the weights that the layers were made with; norm layers keep scale 1 and shift 0. Weights on the
    meta device stay without values.
    """
    if name == "default":
        return model
    for layer in model.modules():
        # Normal numbers on the meta device would import torch's compiler, seconds at every start.
        if isinstance(layer, nn.Linear | _ConvNd) and not layer.weight.is_meta:
            INITIALISERS[name](layer.weight)
            if layer.bias is not None:
                init.zeros_(layer.bias)
    return model
