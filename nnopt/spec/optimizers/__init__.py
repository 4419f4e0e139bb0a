"""Optimizers: one class a kind, each building what changes the weights; a family of them a file.

Optimizers of other packages subclass `OptimizerSpec`.
"""

from nnopt.spec.optimizers.base import OptimizerSpec

__all__ = ["OptimizerSpec"]
