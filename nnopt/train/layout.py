"""Pictures and convolutions in memory with the channels last, as tensor cores and oneDNN like them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nnopt.data.dataset import Dataset
from nnopt.errors import UsageError
from nnopt.spec.experiment import RunSettings


def check_pictures(settings: RunSettings, data: Dataset, model: nn.Module) -> None:
    """Raises UsageError where `strategy.channels_last` has nothing to lay out: no pictures, or no convolution."""
    if not settings.strategy.channels_last:
        return
    if len(data.input_shape) != 3:
        raise UsageError(
            f"strategy.channels_last is for pictures, and {data.name} gives {data.describe_inputs()}: leave it out"
        )
    if not any(parameter.ndim == 4 for parameter in model.parameters()):
        raise UsageError(
            f"strategy.channels_last is for convolutions, and model {settings.model.kind} has none: leave it out"
        )


def put_channels_last(model: nn.Module) -> None:
    """Lays out the convolutions' weights so, and has the model take its pictures so, however they come."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if _pictures_last not in model._forward_pre_hooks.values():
        model.register_forward_pre_hook(_pictures_last)


def _pictures_last(_model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_last(one) if isinstance(one, Tensor) and one.ndim == 4 else one for one in inputs)


def _last(pictures: Tensor) -> Tensor:
    """[n, c, h, w] with the channels last. Of one channel that is what lies there, and only its strides say so."""
    if pictures.shape[1] == 1:
        return pictures.contiguous().squeeze(1).unsqueeze(-1).permute(0, 3, 1, 2)
    return pictures.contiguous(memory_format=torch.channels_last)
