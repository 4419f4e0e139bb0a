"""Optimizers of the package pytorch-optimizer, which is an extra."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from nnopt.errors import UsageError

__all__ = ["contributed"]


def contributed(name: str, kind: str) -> Any:
    """The class `name` of pytorch-optimizer, a torch.optim.Optimizer, for the optimizer `kind` of a spec.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        found = getattr(importlib.import_module("pytorch_optimizer"), name)
    except ImportError:
        raise UsageError(
            f"optimizer {kind} needs the package pytorch-optimizer: pip install 'nnopt[optimizers]'"
        ) from None
    assert issubclass(found, torch.optim.Optimizer)
    return found
