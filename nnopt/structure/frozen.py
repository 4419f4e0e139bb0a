"""Parameters that do not train, and norms that keep their statistics."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


class _Held:
    """A norm that stays in evaluation mode, whatever mode the network is in."""

    def train(self, mode: bool = True) -> Any:
        """Evaluation mode."""
        return super().train(False)  # type: ignore[misc]


_KINDS: dict[Any, Any] = {}  # class of a norm -> the class that is held, made once


def _held(kind: Any) -> Any:
    if kind not in _KINDS:
        _KINDS[kind] = type(kind.__name__, (_Held, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})
    return _KINDS[kind]


def set_frozen(model: nn.Module, named: Collection[str], frozen: Collection[str], stays: Callable[[str], bool]) -> None:
    """Of the parameters that are `named`, the `frozen` ones take no gradient, the rest do; others stay as they are.

    Norms with running statistics stay in evaluation mode where all their parameters are frozen, those without
    parameters where `stays` says so of their name. Their class is then one below their own, so that `train()` does
    not reach them. All others train if the model does.
    """
    for name, parameter in model.named_parameters():
        if name in named:
            parameter.requires_grad_(name not in frozen)
        if name in frozen:
            parameter.grad = None
    for name, layer in model.named_modules():
        if not isinstance(layer, _NormBase) or layer.running_mean is None:
            continue
        own = list(layer.parameters(recurse=False))
        holds = not any(parameter.requires_grad for parameter in own) if own else stays(name)
        if holds and not isinstance(layer, _Held):
            layer.__class__ = _held(type(layer))
            layer.eval()
        elif not holds and isinstance(layer, _Held):
            layer.__class__ = type(layer).__bases__[1]
            layer.train(model.training)
