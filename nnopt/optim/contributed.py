"""Optimizers of the package pytorch-optimizer, which is an extra."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from nnopt.errors import UsageError

__all__ = ["contributed", "keeping_gradients"]


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


def keeping_gradients(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimizer, made to leave the gradients of its parameters as they were before its step.

    For one that computes its step in the gradients' memory: they are looked at after steps too (layers.csv).
    """
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [value.grad for group in optimizer.param_groups for value in group["params"]]
        kept[:] = [(gradient, gradient.clone()) for gradient in gradients if gradient is not None]

    def after(*_: Any) -> None:
        with torch.no_grad():
            for gradient, old in kept:
                gradient.copy_(old)
        kept.clear()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    return optimizer
