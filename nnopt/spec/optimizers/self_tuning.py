"""Optimizers that find their own learning rate, of the package pytorch-optimizer.

They measure how far the weights have come from where they began, d, and step as if d were the distance to where they
are going: the rate grows with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nnopt.spec.base import mistake_at
from nnopt.spec.optimizers.base import AnyOptimizerSpec, SelfTuningSpec

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters

FIRST = "first guess of the distance, which only grows: small enough is good enough"
GROWTH = "how much the distance may grow in a step, as a factor; null: any"
DECAY = "decoupled: θ ← (1 − dηλ)θ at each step, η the schedule's multiplier"
D_ADAPTATION = "Defazio & Mishchenko 2023, arXiv:2301.07733"


class OneRateSpec(SelfTuningSpec):
    """One that finds a single rate for all parameters."""

    d0: float = Field(1e-6, gt=0, description=FIRST)
    weight_decay: float = Field(0.0, ge=0, description=DECAY)

    sums_over_all: ClassVar[bool] = True
    recordable: ClassVar[bool] = False

    @model_validator(mode="after")
    def _groups_have_decay_alone(self) -> Self:
        for place, group in enumerate(self.groups):
            if group.lr != 1.0:
                raise mistake_at(
                    ("groups", place, "lr"), f"{self.kind} finds one rate for all parameters: leave lr of groups out"
                )
        return self

    def _build(self, name: str, parameters: Parameters, **options: Any) -> Optimizer:
        from nnopt.optim.contributed import contributed
        from nnopt.optim.optimizer import TorchOptimizer

        made = contributed(name, self.kind)
        return TorchOptimizer(
            made(
                parameters.for_torch(),
                lr=1.0,
                d0=self.d0,
                weight_decay=self.weight_decay,
                weight_decouple=True,
                **options,
            )
        )


class Prodigy(OneRateSpec):
    """Adam that finds its own rate, from a distance that is estimated with growing weights."""

    kind: Literal["prodigy"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, gt=0, lt=1, description="weight of the old average of its square, β₂; √β₂ that of d's")
    eps: float = Field(1e-8, gt=0, description="ε, keeps the divisor from 0")
    d_coef: float = Field(1.0, gt=0, description="multiplies the estimate of d: below 1 steps more carefully")
    growth_rate: float | None = Field(None, gt=1, description=GROWTH)
    bias_correction: bool = Field(False, description="correct the averages for their start at 0")
    safeguard_warmup: bool = Field(False, description="keep a warm-up's small rates out of the estimate's divisor")

    year: ClassVar[int | None] = 2024
    formula: ClassVar[str] = (
        "r ← √β₂r + ηd²⟨g, θ₀−θ⟩/d₀; s ← √β₂s + ηd²g/d₀; m ← β₁m + (1−β₁)dg; v ← β₂v + (1−β₂)d²g²; "
        "d ← max(d, r/‖s‖₁); θ ← θ − ηdm/(√v+dε)"
    )
    source: ClassVar[str] = "Mishchenko & Defazio 2024, arXiv:2306.06101; pytorch_optimizer.Prodigy"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        return self._build(
            "Prodigy",
            parameters,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            d_coef=self.d_coef,
            growth_rate=float("inf") if self.growth_rate is None else self.growth_rate,
            bias_correction=self.bias_correction,
            safeguard_warmup=self.safeguard_warmup,
        )


class DAdaptSgd(OneRateSpec):
    """SGD with momentum that finds its own rate by D-Adaptation."""

    kind: Literal["dadapt_sgd"]
    momentum: float = Field(0.9, ge=0, lt=1, description="how much θ stays behind the steps' end, μ")
    growth_rate: float | None = Field(None, gt=1, description=GROWTH)

    year: ClassVar[int | None] = 2023
    formula: ClassVar[str] = "γ = dη/‖g₁‖; r ← r + γ⟨g, s⟩; s ← s + γg; d ← max(d, 2r/‖s‖); z = θ₀ − s; θ ← μθ + (1−μ)z"
    source: ClassVar[str] = f"{D_ADAPTATION}; pytorch_optimizer.DAdaptSGD"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        growth = float("inf") if self.growth_rate is None else self.growth_rate
        return self._build("DAdaptSGD", parameters, momentum=self.momentum, growth_rate=growth)


class DAdaptAdam(OneRateSpec):
    """Adam that finds its own rate by D-Adaptation."""

    kind: Literal["dadapt_adam"]
    beta1: float = Field(0.9, ge=0, lt=1, description="weight of the old average of the gradient, β₁")
    beta2: float = Field(0.999, gt=0, lt=1, description="weight of the old average of its square, β₂; √β₂ that of d's")
    eps: float = Field(1e-8, gt=0, description="ε, keeps the divisor from 0")
    growth_rate: float | None = Field(None, gt=1, description=GROWTH)
    bias_correction: bool = Field(False, description="correct the averages for their start at 0")

    year: ClassVar[int | None] = 2023
    formula: ClassVar[str] = (
        "r ← √β₂r + (1−√β₂)dη⟨g, s/(√v+ε)⟩; m ← β₁m + (1−β₁)dηg; v ← β₂v + (1−β₂)g²; s ← √β₂s + (1−√β₂)dηg; "
        "d ← max(d, r/((1−√β₂)‖s‖₁)); θ ← θ − m/(√v+ε)"
    )
    source: ClassVar[str] = f"{D_ADAPTATION}; pytorch_optimizer.DAdaptAdam"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        return self._build(
            "DAdaptAdam",
            parameters,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            growth_rate=float("inf") if self.growth_rate is None else self.growth_rate,
            bias_correction=self.bias_correction,
        )


MEMBERS: tuple[type[AnyOptimizerSpec], ...] = (Prodigy, DAdaptSgd, DAdaptAdam)
