"""Optimizers that keep an average of their way in place of a decay of the rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from nnopt.spec.optimizers.base import AnyOptimizerSpec, OptimizerSpec

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters

SOURCE = 'Defazio et al. 2024, "The Road Less Scheduled", arXiv:2405.15682'


class ScheduleFreeSgd(OptimizerSpec):
    """SGD with momentum, judged at an average of its way; it wants a constant rate, with a warm-up at most."""

    kind: Literal["schedule_free_sgd"]
    beta: float = Field(0.9, gt=0, lt=1, description="where gradients are taken between the steps (0) and their mean")
    weight_decay: float = Field(0.0, ge=0, description="λ, adds λy to the gradient")

    shows_others: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    year: ClassVar[int | None] = 2024
    formula: ClassVar[str] = "y = (1−β)z + βx; z ← z − ηg(y); x ← (1−c)x + cz, c = η²/Ση²; judged at x"
    source: ClassVar[str] = SOURCE

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        from nnopt.optim.schedule_free import ScheduleFree

        return ScheduleFree(parameters, self.beta, None, self.weight_decay)


class ScheduleFreeAdamW(OptimizerSpec):
    """AdamW judged at an average of its way; it wants a constant rate, with a warm-up at most."""

    kind: Literal["schedule_free_adamw"]
    beta1: float = Field(0.9, gt=0, lt=1, description="where gradients are taken between the steps (0) and their mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="weight of the old average of the gradient's square, β₂")
    eps: float = Field(1e-8, gt=0, description="ε, keeps the divisor from 0")
    weight_decay: float = Field(0.0, ge=0, description="λ, adds λy to what z moves along")

    shows_others: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    year: ClassVar[int | None] = 2024
    formula: ClassVar[str] = (
        "v ← β₂v + (1−β₂)g²; d = g(y)/(√v̂+ε); y = (1−β₁)z + β₁x; z ← z − ηd; x ← (1−c)x + cz, c = η²/Ση²; judged at x"
    )
    source: ClassVar[str] = SOURCE

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        from nnopt.optim.schedule_free import ScheduleFree, Square

        return ScheduleFree(parameters, self.beta1, Square(self.beta2, self.eps), self.weight_decay)


MEMBERS: tuple[type[AnyOptimizerSpec], ...] = (ScheduleFreeSgd, ScheduleFreeAdamW)
