"""The layers of a network that have weights to remove, cut or round, by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from torch import nn

from nnopt.errors import UsageError

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

SHOWN = 20  # layer names in a message


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The linear and convolution layers of `model` by their names in it, in its order."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, WEIGHT_LAYERS)}


def chosen_layers(model: nn.Module, layers: Sequence[str], leave_out: Sequence[str], key: str) -> dict[str, nn.Module]:
    """Those of `weight_layers` whose names match a pattern of `layers` and none of `leave_out`.

    A model that is itself a layer has the name "".

    Args:
        model: the network.
        layers: patterns as in file names ("conv*"), case counts.
        leave_out: the same.
        key: where the patterns stand in a spec, such as "structure.prune"; the message names it.

    Raises:
        UsageError: a pattern matches no linear or convolution layer, or none is left; names those there are.
    """
    found = weight_layers(model)
    if not found:
        raise UsageError(f"{key}: the model has no linear or convolution layer")
    for part, patterns in (("layers", layers), ("leave_out", leave_out)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in found):
                raise UsageError(
                    f"{key}.{part}: {pattern!r} matches no linear or convolution layer; there are {_names(found)}"
                )
    chosen = {
        name: layer
        for name, layer in found.items()
        if any(fnmatchcase(name, pattern) for pattern in layers)
        and not any(fnmatchcase(name, pattern) for pattern in leave_out)
    }
    if not chosen:
        raise UsageError(f"{key}: leave_out leaves no layer that layers names; there are {_names(found)}")
    return chosen


def layers_within(model: nn.Module, names: Collection[str]) -> dict[str, nn.Module]:
    """The weight layers that are called so, or lie within what is: a layer that was cut in two is still reached."""
    return {
        name: layer
        for name, layer in weight_layers(model).items()
        if any(name == chosen or not chosen or name.startswith(f"{chosen}.") for chosen in names)
    }


def _names(found: dict[str, nn.Module]) -> str:
    names = [repr(name) for name in found]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
