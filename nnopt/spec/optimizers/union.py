"""The optimizers that a spec can name: those of `single.py`, where a new family joins, and wrappers of them."""

from __future__ import annotations

from nnopt.spec.base import Kinds
from nnopt.spec.optimizers import wrappers
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.single import SINGLE

OPTIMIZERS = Kinds("optimizer", AnyOptimizerSpec, (*SINGLE, *wrappers.MEMBERS))
