"""What every optimizer's spec has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from nnopt.spec.base import Items, KindSpec
from nnopt.spec.parameter_groups import ParameterGroupSpec

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters


# An eps that drowns what is added to it: a divisor √v + ε is then ε, and √(v + ε) is √ε, whatever the gradients.
DROWNING_EPS = 1e16

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class SpecialCase:
    """An optimizer that another one has within it.

    `keys` takes all keys of the optimizer `kind`, of settings in which `where` holds, and gives the keys (besides
    defaults) with which the other takes the same steps.
    """

    kind: str
    keys: Callable[[Keys], dict[str, Any]]
    where: Callable[[Keys], bool] = lambda keys: True


def is_plain(sgd: Keys) -> bool:
    """Whether these keys of `sgd` step along the gradient alone, whatever their weight decay."""
    return not sgd["momentum"]


class OptimizerSpec(KindSpec, ABC):
    """An optimizer and its highest learning rate."""

    lr: float = Field(gt=0, description="learning rate η, multiplied by strategy.lr_decay")
    groups: Items[ParameterGroupSpec] = Field(
        (), description="parameters with rates and weight decay of their own: {parameters, lr, weight_decay}"
    )

    # Whether it works on parameters laid out in one flat tensor (FlatParameters) or needs them apart.
    flat: ClassVar[bool] = True
    # The key with patterns of parameters that it treats by a rule of their own: `Parameters.apart` has their names.
    apart: ClassVar[str | None] = None
    # Whether it follows the gradient of the whole training set and no other.
    needs_full_batch: ClassVar[bool] = False
    # Whether a step may take more than one forward and backward pass.
    evaluations_vary: ClassVar[bool] = False
    # Whether a step reads no number on the host, so that it can be recorded once and replayed (strategy.graph).
    recordable: ClassVar[bool] = True
    # The optimizers that it can imitate step for step, directly: see nnopt.spec.optimizers.contained.
    contains: ClassVar[tuple[SpecialCase, ...]] = ()

    @abstractmethod
    def build(self, parameters: Parameters) -> Optimizer:
        """The optimizer at work on `parameters`: FlatParameters where `flat`, else SeparateParameters.

        RuleOptimizer heeds the groups of `parameters` by itself, an optimizer of torch.optim where it is built on
        `parameters.for_torch()`.
        """
