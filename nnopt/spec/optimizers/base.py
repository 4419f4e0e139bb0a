"""What every optimizer's spec has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from nnopt.spec.base import Items, KindSpec
from nnopt.spec.parameter_groups import ParameterGroupSpec

if TYPE_CHECKING:
    from torch import nn

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


SEARCHES = "searches along a line"


class AnyOptimizerSpec(KindSpec, ABC):
    """What changes the weights, with a learning rate or without."""

    # Whether it works on parameters laid out in one flat tensor (FlatParameters) or needs them apart.
    flat: ClassVar[bool] = True
    # Whether a step adds up over all parameters (a norm, an inner product), so that no weight goes by itself.
    sums_over_all: ClassVar[bool] = False
    # The key with patterns of parameters that it treats by a rule of their own: `Parameters.apart` has their names.
    apart: ClassVar[str | None] = None
    # Whether it follows the gradient of the whole training set and no other.
    needs_full_batch: ClassVar[bool] = False
    # Whether a step may take more than one forward and backward pass.
    evaluations_vary: ClassVar[bool] = False
    # What it does with them, in words; SEARCHES where they decide how long a step is.
    extra_passes: ClassVar[str] = "evaluates more than once a step"
    # Whether it asks for `Objective.smooth`: second derivatives, or what the network is made of.
    needs_curvature: ClassVar[bool] = False
    # Whether its steps follow from curvature alone, at a length that is searched for: gradients are not to be changed
    # on the way to it.
    is_second_order: ClassVar[bool] = False
    # Whether what is evaluated is not the weights that train but `Optimizer.shown`.
    shows_others: ClassVar[bool] = False
    # Whether a step reads no number on the host, so that it can be recorded once and replayed (strategy.graph).
    recordable: ClassVar[bool] = True
    # Whether it draws targets from what the model says is probable, which the loss must say: Loss.drawn.
    draws_targets: ClassVar[bool] = False
    # The losses that it can work with; None: all.
    losses: ClassVar[tuple[str, ...] | None] = None
    # The optimizers that it can imitate step for step, directly: see nnopt.spec.optimizers.contained.
    contains: ClassVar[tuple[SpecialCase, ...]] = ()
    # The year of its paper.
    year: ClassVar[int | None] = None
    # Problems of nnopt.bench.conformance that it cannot solve, each with the reason.
    cannot: ClassVar[Mapping[str, str]] = {}

    @property
    def peak_lr(self) -> float:
        """The highest learning rate, which strategy.lr_decay multiplies; 1 for one that has none."""
        return 1.0

    @property
    def lr_key(self) -> tuple[str, ...] | None:
        """Where its learning rate stands below `optimizer`; None for one that has none."""
        return None

    @property
    def searches(self) -> bool:
        """Whether it searches along a line for the length of its steps."""
        return self.evaluations_vary and self.extra_passes == SEARCHES

    @property
    def parameter_groups(self) -> tuple[ParameterGroupSpec, ...]:
        """Parameters with rates and weight decay of their own."""
        return ()

    @property
    def inner(self) -> AnyOptimizerSpec:
        """What lies on the parameters: itself, or of one that wraps another the other."""
        return self

    def at_rate(self, lr: float) -> Self:
        """The same with another highest learning rate, where it has one."""
        return self

    def check_network(self, network: nn.Module, parameters: Parameters) -> None:
        """Nothing, where there is something in a network that it can work on.

        Raises:
            UsageError: there is not.
        """

    @abstractmethod
    def build(self, parameters: Parameters) -> Optimizer:
        """The optimizer at work on `parameters`: FlatParameters where `flat`, else SeparateParameters.

        RuleOptimizer heeds the groups of `parameters` by itself, an optimizer of torch.optim where it is built on
        `parameters.for_torch()`.
        """


GROUPS_DESCRIPTION = "parameters with rates and weight decay of their own: {parameters, lr, weight_decay}"


class OptimizerSpec(AnyOptimizerSpec):
    """An optimizer and its highest learning rate."""

    lr: float = Field(gt=0, description="learning rate η, multiplied by strategy.lr_decay")
    groups: Items[ParameterGroupSpec] = Field((), description=GROUPS_DESCRIPTION)

    @property
    def peak_lr(self) -> float:
        """As the base class says."""
        return self.lr

    @property
    def lr_key(self) -> tuple[str, ...] | None:
        """As the base class says."""
        return ("lr",)

    @property
    def parameter_groups(self) -> tuple[ParameterGroupSpec, ...]:
        """As the base class says."""
        return self.groups

    def at_rate(self, lr: float) -> Self:
        """As the base class says."""
        return self.model_copy(update={"lr": lr})


class SelfTuningSpec(AnyOptimizerSpec):
    """An optimizer that finds its own learning rate; strategy.lr_decay multiplies it from 1 on."""

    groups: Items[ParameterGroupSpec] = Field((), description=GROUPS_DESCRIPTION)

    refused: ClassVar[Mapping[str, str]] = {"lr": "it finds its learning rate itself: leave lr out"}

    @property
    def parameter_groups(self) -> tuple[ParameterGroupSpec, ...]:
        """As the base class says."""
        return self.groups
