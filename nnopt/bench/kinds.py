"""Optimizers by the name that a spec calls them."""

from __future__ import annotations

from nnopt.errors import UsageError
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.union import OPTIMIZERS


def part_of(kind: str) -> type[AnyOptimizerSpec]:
    """The class of an optimizer, which may be a plug-in's path.

    Raises:
        UsageError: there is none.
    """
    try:
        part = OPTIMIZERS.find(kind)
    except ValueError as error:
        raise UsageError(str(error)) from None
    assert issubclass(part, AnyOptimizerSpec)
    return part
