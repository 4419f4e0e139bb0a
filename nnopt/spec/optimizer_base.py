"""What every optimizer's spec has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from nnopt.spec.base import KindSpec

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters


class OptimizerSpec(KindSpec, ABC):
    """An optimizer and its highest learning rate."""

    lr: float = Field(gt=0, description="learning rate η, multiplied by strategy.lr_decay")

    # Whether it works on parameters laid out in one flat tensor (FlatParameters) or needs them apart.
    flat: ClassVar[bool] = True
    # Whether it follows the gradient of the whole training set and no other.
    needs_full_batch: ClassVar[bool] = False
    # Whether a step may take more than one forward and backward pass.
    evaluations_vary: ClassVar[bool] = False

    @abstractmethod
    def build(self, parameters: Parameters) -> Optimizer:
        """The optimizer at work on `parameters`: FlatParameters where `flat`, else SeparateParameters."""
