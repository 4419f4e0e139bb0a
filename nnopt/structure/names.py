"""Parameters and layers of a network by patterns of their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from nnopt.errors import UsageError
from nnopt.structure.low_rank import CutLayer

SHOWN = 20  # names in a message


def names_above(name: str) -> list[str]:
    """A dotted name with those of the layers that it lies in: `a.0.weight`, `a.0`, `a`."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits a dotted name, or that of a layer it lies in; as in file names, case counts."""
    return any(fnmatchcase(one, pattern) for one in names_above(name) for pattern in patterns)


def parameters_named(model: nn.Module, patterns: Sequence[str], key: str) -> set[str]:
    """The names in `model.named_parameters()` of the parameters that the patterns name, or a layer they lie in.

    A parameter that layers share is named by each of them. A layer that was cut in two keeps the names it had.

    Args:
        model: the network.
        patterns: as in file names ("blocks.*"), case counts.
        key: where the patterns stand in a spec, such as "model.freeze"; the message names it.

    Raises:
        UsageError: a pattern matches nothing; names the layers there are.
    """
    own = {id(parameter): name for name, parameter in model.named_parameters()}
    cut = [name for name, layer in model.named_modules() if isinstance(layer, CutLayer)]
    found = [
        (own[id(parameter)], names_above(_uncut(name, cut)))
        for name, parameter in model.named_parameters(remove_duplicate=False)
    ]
    check_patterns(patterns, {one for _, names in found for one in names}, [names[0] for _, names in found], key)
    return {name for name, names in found if any(fnmatchcase(one, pat) for one in names for pat in patterns)}


def check_patterns(patterns: Sequence[str], known: Iterable[str], shown: Sequence[str], key: str) -> None:
    """Raises UsageError where a pattern fits none of the `known` names; tells the layers of the names `shown`."""
    known = list(known)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            layers = list(dict.fromkeys(name.rpartition(".")[0] for name in shown))
            more = f" and {len(layers) - SHOWN} more" if len(layers) > SHOWN else ""
            some = ", ".join(map(repr, filter(None, layers[:SHOWN]))) + more
            there = f"layers {some}, with parameters such as {shown[0]!r}" if some else f"parameters {', '.join(shown)}"
            raise UsageError(f"{key}: {pattern!r} matches no parameter and no layer; there are {there}")


def _uncut(name: str, cut: Collection[str]) -> str:
    """The name that a parameter had before its layer was cut in two."""
    above, _, last = name.rpartition(".")
    layer = above.rpartition(".")[0]
    return ".".join(filter(None, (layer, last))) if above and layer in cut else name
