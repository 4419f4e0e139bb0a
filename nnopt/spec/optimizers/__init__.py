"""Optimizers: one class a kind, each building what changes the weights; a family of them a file.

Optimizers of other packages subclass `OptimizerSpec`, those without a learning rate `SelfTuningSpec`.
"""

from nnopt.spec.optimizers.base import AnyOptimizerSpec, OptimizerSpec, SelfTuningSpec

__all__ = ["AnyOptimizerSpec", "OptimizerSpec", "SelfTuningSpec"]
