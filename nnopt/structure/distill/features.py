"""Outputs of layers within a network: caught as it computes, and compared with another's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn


@contextlib.contextmanager
def caught(network: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """While the block lasts, the newest output of each of these layers (names of `named_modules`), by name."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        def hook(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
            found[name] = output

        return network.get_submodule(name).register_forward_hook(hook)

    hooks = [keep(name) for name in dict.fromkeys(layers)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()  # type: ignore[attr-defined]


def values_apart(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference of two layers' outputs of one shape, 0-dim (Romero et al. 2015)."""
    return F.mse_loss(student.float(), teacher)


def similarities_apart(student: Tensor, teacher: Tensor) -> Tensor:
    """‖G_t − G_s‖²/n² of two layers' outputs for n samples, [n, ...] of any sizes, 0-dim (Tung & Mori 2019).

    G = F·Fᵀ for F [n, features], each row divided by its norm.
    """
    samples = student.shape[0]
    return (_similarities(teacher) - _similarities(student)).square().sum() / samples**2


def _similarities(outputs: Tensor) -> Tensor:
    """[n, n], each row of norm 1; a sample whose features are all 0 is like no other."""
    rows = outputs.float().flatten(1)
    return F.normalize(rows @ rows.T, dim=1)


DISTANCES = {"values": values_apart, "similarities": similarities_apart}
