"""Optimizers as a spec names them, for tests that go over all kinds."""

from __future__ import annotations

from typing import Any

from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.union import OPTIMIZERS


def chosen(kind: str, lr: float = 0.01, **options: Any) -> dict[str, Any]:
    """The keys of the optimizer `kind`: with the rate where it has one, and around momentum where it wraps another."""
    fields = OPTIMIZERS.named()[kind].model_fields
    if "base" in fields:
        return {"kind": kind, "base": {"kind": "momentum", "lr": lr}, **options}
    return {"kind": kind, **({"lr": lr} if "lr" in fields else {}), **options}


def kind_of(name: str) -> type[AnyOptimizerSpec]:
    """The class of a kind."""
    found = OPTIMIZERS.named()[name]
    assert issubclass(found, AnyOptimizerSpec)
    return found


def wants_whole_batches(kind: str) -> bool:
    """Whether its steps are best told apart on the whole training set: few and long ones."""
    return kind == "lbfgs" or kind_of(kind).needs_full_batch or kind_of(kind).is_second_order
