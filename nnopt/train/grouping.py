"""Parameters with a learning rate and a weight decay of their own: from patterns of a spec to names of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from nnopt.errors import UsageError
from nnopt.optim.parameters import Group
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.structure.names import parameters_named


@dataclass(frozen=True)
class NamedGroup:
    """A group of a spec in a model: its patterns, what they name that no group before it has, and its treatment."""

    patterns: tuple[str, ...]
    group: Group
    tensors: int
    parameters: int

    def record(self) -> dict[str, Any]:
        """As summary.json tells it."""
        decay = {} if self.group.weight_decay is None else {"weight_decay": self.group.weight_decay}
        counts = {"tensors": self.tensors, "count": self.parameters}
        return {"parameters": list(self.patterns), **counts, "lr": self.group.rate, **decay}


def named_groups(optimizer: AnyOptimizerSpec, model: nn.Module) -> list[NamedGroup]:
    """The groups of an optimizer, in which frozen parameters count as well: they may train later.

    Raises:
        UsageError: a pattern matches nothing, or groups before it have all that a group names.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    groups: list[NamedGroup] = []
    taken: set[str] = set()
    for place, spec in enumerate(optimizer.parameter_groups):
        key = f"optimizer.groups.{place}.parameters"
        names = parameters_named(model, spec.parameters, key) - taken
        if not names:
            raise UsageError(f"{key}: groups before it have all that {', '.join(spec.parameters)} names")
        taken |= names
        group = Group(frozenset(names), spec.lr, spec.weight_decay)
        groups.append(NamedGroup(spec.parameters, group, len(names), sum(sizes[name] for name in names)))
    return groups


def named_apart(optimizer: AnyOptimizerSpec, model: nn.Module) -> set[str]:
    """The parameters that an optimizer treats by a rule of their own.

    Raises:
        UsageError: a pattern matches nothing.
    """
    if optimizer.apart is None:
        return set()
    return parameters_named(model, getattr(optimizer, optimizer.apart), f"optimizer.{optimizer.apart}")
