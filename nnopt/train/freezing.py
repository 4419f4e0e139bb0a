"""Which parameters of a model train: what its spec freezes, until it says otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from nnopt.errors import UsageError
from nnopt.spec.model_base import ModelSpec
from nnopt.spec.transfer import UnfreezeSpec
from nnopt.structure.frozen import set_frozen
from nnopt.structure.names import is_named, parameters_named


def freeze(model: nn.Module, spec: ModelSpec, unfrozen: Sequence[UnfreezeSpec] = ()) -> None:
    """Freezes what `spec` names, less what was `unfrozen`.

    Raises:
        UsageError: a pattern matches nothing, nothing would train, or what is to be unfrozen is not frozen.
    """
    if not spec.freeze:
        return
    named = parameters_named(model, spec.freeze, "model.freeze")
    frozen = set(named)
    if frozen.issuperset(name for name, _ in model.named_parameters()):
        raise UsageError("model.freeze: every parameter of the model is frozen, so there is nothing to train")
    for place, later in enumerate(spec.unfreeze):
        key = f"model.unfreeze.{place}.parameters"
        wanted = parameters_named(model, later.parameters, key)
        if not wanted & frozen:
            raise UsageError(f"{key}: {', '.join(later.parameters)} are not frozen")
        if later in unfrozen:
            frozen -= wanted

    def stays(layer: str) -> bool:
        return is_named(layer, spec.freeze) and not any(is_named(layer, one.parameters) for one in unfrozen)

    set_frozen(model, named, frozen, stays)


def count_frozen(model: nn.Module) -> int:
    """Numbers in the parameters that do not train."""
    return sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
