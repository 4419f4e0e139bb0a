"""The optimizers that a spec can name."""

from __future__ import annotations

from nnopt.spec.base import Kinds
from nnopt.spec.optimizers import of_torch, textbook
from nnopt.spec.optimizers.base import OptimizerSpec

OPTIMIZERS = Kinds("optimizer", OptimizerSpec, (*textbook.MEMBERS, *of_torch.MEMBERS))
