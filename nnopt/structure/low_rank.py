"""Layers cut in two thinner ones by their singular values.

A weight [out, in, *kernel] is taken as the matrix W [out, in·kernel] = U·S·Vᵀ. Of it the r largest singular values are
kept: first a layer of the same kind with r outputs and weights √S_r·V_rᵀ, then a dense layer or 1x1 convolution with
weights U_r·√S_r and the bias (Eckart & Young 1936: no matrix of rank r is nearer to W; Denil et al. 2013,
arXiv:1306.0543).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


class CutLayer(nn.Sequential):
    """A layer that was cut in two: the first has `rank` outputs, the second makes the outputs of them."""

    @property
    def rank(self) -> int:
        """How many numbers pass from the first to the second, at each place of an image."""
        return _weight(self[0]).shape[0]


def can_be_cut(layer: nn.Module) -> bool:
    """Whether a layer is one matrix: not so a convolution of several groups."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, _ConvNd) and layer.groups == 1)


def matrix_shape(layer: nn.Module) -> tuple[int, int]:
    """Rows and columns of the matrix that a layer that can be cut is."""
    weight = _weight(layer)
    return weight.shape[0], weight[0].numel()


def largest_saving_rank(layer: nn.Module) -> int:
    """The largest rank at which two layers have fewer weights than the one; 0 where none has."""
    rows, columns = matrix_shape(layer)
    return (rows * columns - 1) // (rows + columns)


@torch.no_grad()
def rank_of_energy(layer: nn.Module, energy: float) -> int:
    """The fewest singular values, at least 1, whose squares are together the share `energy` of all squares."""
    values = torch.linalg.svdvals(_matrix(layer))
    squares = values.square().cumsum(0)
    return int((squares < energy * squares[-1]).sum()) + 1


@torch.no_grad()
def cut_in_two(layer: nn.Module, rank: int) -> CutLayer:
    """Two layers in place of one, on its device and of its type; exact where `rank` is that of the matrix.

    Singular vectors are unique up to their sign: the largest entry of each column of U is made positive.
    """
    left, values, right = torch.linalg.svd(_matrix(layer), full_matrices=False)
    places = left.abs().argmax(dim=0, keepdim=True)
    signs = torch.where(left.gather(0, places) < 0, -1.0, 1.0).to(left.dtype)
    left, right = (left * signs)[:, :rank], (right * signs.T)[:rank]
    roots = values[:rank].sqrt()
    cut = empty_cut(layer, rank)
    first, second = cut
    _weight(first).copy_((roots[:, None] * right).view_as(_weight(first)))
    _weight(second).copy_((left * roots).view_as(_weight(second)))
    if layer.bias is not None:
        assert isinstance(layer.bias, Tensor)
        assert isinstance(second.bias, Tensor)
        second.bias.copy_(layer.bias)
    return cut


def empty_cut(layer: nn.Module, rank: int) -> CutLayer:
    """The two layers, their weights not set. They are made without drawing random numbers.

    Raises:
        TypeError: the layer cannot be cut.
    """
    if not can_be_cut(layer):
        raise TypeError(f"{type(layer).__name__} cannot be cut")
    weight, has_bias = _weight(layer), layer.bias is not None
    like: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    skip: Callable[..., nn.Module] = nn.utils.skip_init
    if isinstance(layer, nn.Linear):
        first = skip(nn.Linear, layer.in_features, rank, bias=False, **like)
        second = skip(nn.Linear, rank, layer.out_features, bias=has_bias, **like)
        return _alike(CutLayer(first, second), layer)
    kind = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(layer, kind))
    assert isinstance(layer, _ConvNd)
    window: dict[str, Any] = {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "padding_mode": layer.padding_mode,
    }
    first = skip(kind, layer.in_channels, rank, bias=False, **window, **like)
    second = skip(kind, rank, layer.out_channels, 1, bias=has_bias, **like)
    return _alike(CutLayer(first, second), layer)


def _alike(cut: CutLayer, layer: nn.Module) -> CutLayer:
    """In the mode of the whole layer, and trained where that is."""
    for parameter in cut[0].parameters():
        parameter.requires_grad_(_weight(layer).requires_grad)
    for name, parameter in cut[1].named_parameters():
        parameter.requires_grad_(getattr(layer, name).requires_grad)
    return cut.train(layer.training)


def put_layer(model: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """`model` with `layer` in the place called `name`; where that is "", the model itself, it is `layer`."""
    if not name:
        return layer
    above, _, last = name.rpartition(".")
    setattr(model.get_submodule(above), last, layer)
    return model


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight


def _matrix(layer: nn.Module) -> Tensor:
    """The weight as a matrix of double precision on the CPU: the same bits whatever the device."""
    return _weight(layer).detach().cpu().double().flatten(1)
