"""Batch norm over the shares of all processes: the same numbers as one process has from the whole batch.

torch's SyncBatchNorm does this on accelerators alone; this one runs wherever sums over processes do.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Total(torch.autograd.Function):
    """The sum over the processes; so is its gradient, as every process's part has a share in every answer."""

    @staticmethod
    def forward(_context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _total(tensor: Tensor) -> Tensor:
    total: Tensor = _Total.apply(tensor)  # type: ignore[no-untyped-call]
    return total


class _OverTeam(_BatchNorm):
    """Training statistics are of the shares of all processes together; answers in evaluation are as ever."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or not distributed.is_initialized():
            return super().forward(inputs)
        self._check_input_dim(inputs)  # type: ignore[no-untyped-call]
        rest = [axis for axis in range(inputs.dim()) if axis != 1]
        shape = [1, -1, *[1] * (inputs.dim() - 2)]
        values = inputs.float()
        own = values.new_full((1,), values.numel() / values.shape[1])
        sums = torch.cat([values.sum(rest), own])  # [channels + 1]
        sums = _total(sums)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        squares = _total(centred.square().sum(rest))
        variance = squares / count
        self._remember(mean.detach(), variance.detach(), count)
        answers: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            answers = answers * self.weight.view(shape) + self.bias.view(shape)
        return answers.to(inputs.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Moves the running statistics on, as torch's batch norm does (with the unbiased variance)."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight: Any = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), weight)


class _OverTeam1d(_OverTeam, nn.BatchNorm1d):
    pass


class _OverTeam2d(_OverTeam, nn.BatchNorm2d):
    pass


class _OverTeam3d(_OverTeam, nn.BatchNorm3d):
    pass


KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _OverTeam1d,
    nn.BatchNorm2d: _OverTeam2d,
    nn.BatchNorm3d: _OverTeam3d,
}


def norm_over_team(model: nn.Module) -> None:
    """Makes the batch norms of `model` such; their tensors and names stay what they are."""
    for layer in model.modules():
        if type(layer) in KINDS:
            layer.__class__ = KINDS[type(layer)]
