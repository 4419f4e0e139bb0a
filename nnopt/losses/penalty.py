"""What L1 and L2 terms cover."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def penalised_names(model: nn.Module) -> set[str]:
    """The names of the parameters that L1 and L2 terms cover: all but biases and those of norm layers."""
    return {
        name
        for name, _ in model.named_parameters()
        if "bias" not in name.rpartition(".")[2] and not isinstance(model.get_submodule(name.rpartition(".")[0]), NORMS)
    }
