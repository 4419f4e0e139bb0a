"""Optimizers that change how another one steps."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from nnopt.spec.base import Kinds, KindSpec, mistake_at
from nnopt.spec.optimizers.base import AnyOptimizerSpec
from nnopt.spec.optimizers.single import SINGLE
from nnopt.spec.parameter_groups import ParameterGroupSpec

if TYPE_CHECKING:
    from nnopt.optim.optimizer import Optimizer
    from nnopt.optim.parameters import Parameters

NAMES = ("sam", "lookahead")
IN_BASE = "belongs to the optimizer that it wraps: write it within base, as in base: {kind: sgd, lr: 0.1}"


@dataclass(frozen=True, eq=False)
class Bases(Kinds):
    """The optimizers that can be wrapped: all but wrappers."""

    def find(self, kind: Any) -> type[KindSpec]:
        """As `Kinds.find`."""
        if isinstance(kind, str) and kind in NAMES:
            raise PydanticCustomError(
                "kind", f"{kind} wraps an optimizer, and wrappers do not go into each other: take one such as sgd"
            )
        return super().find(kind)


BASES = Bases("optimizer", AnyOptimizerSpec, SINGLE)


class Wrapper(AnyOptimizerSpec, ABC):
    """An optimizer around another one, `base`, which has the learning rate, groups and weight decay."""

    base: Annotated[AnyOptimizerSpec, BASES] = Field(
        description="the optimizer that steps, with its keys: any that evaluates once a step, as {kind: sgd, lr: 0.1}"
    )

    refused: ClassVar[Mapping[str, str]] = {
        "lr": f"the learning rate {IN_BASE}",
        "groups": f"what parameters are treated alike {IN_BASE}",
        "weight_decay": f"weight decay {IN_BASE}",
    }

    @model_validator(mode="after")
    def _base_evaluates_once(self) -> Self:
        base = self.base
        if base.inner is not base:
            raise mistake_at(
                ("base", "kind"), f"{base.kind} wraps an optimizer itself, and wrappers do not go into each other"
            )
        if base.evaluations_vary or base.needs_curvature:
            raise mistake_at(
                ("base", "kind"),
                f"{base.kind} evaluates more than a gradient in a step, and {self.kind} goes around optimizers that "
                "evaluate once: take one such as sgd or adam",
            )
        return self

    @property
    def peak_lr(self) -> float:
        """As the base class says, of the optimizer within."""
        return self.base.peak_lr

    @property
    def lr_key(self) -> tuple[str, ...] | None:
        """As the base class says."""
        within = self.base.lr_key
        return None if within is None else ("base", *within)

    @property
    def parameter_groups(self) -> tuple[ParameterGroupSpec, ...]:
        """As the base class says, of the optimizer within."""
        return self.base.parameter_groups

    @property
    def inner(self) -> AnyOptimizerSpec:
        """As the base class says: the optimizer within."""
        return self.base

    def at_rate(self, lr: float) -> Self:
        """As the base class says."""
        return self.model_copy(update={"base": self.base.at_rate(lr)})


class Sam(Wrapper):
    """Sharpness-aware minimisation: steps with the gradient at the worst point around, two evaluations a step."""

    kind: Literal["sam"]
    rho: float = Field(0.05, ge=0, description="distance ρ of that point; its paper has 0.05, and 0.5 to 2 if adaptive")
    adaptive: bool = Field(False, description="measure the distance of each weight by its size (Kwon et al. 2021)")

    evaluations_vary: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    year: ClassVar[int | None] = 2021
    formula: ClassVar[str] = "ε = ρg/‖g‖, adaptive ρθ²g/‖θg‖; θ ← a step of base from θ with g(θ + ε) in place of g(θ)"
    source: ClassVar[str] = "Foret et al. 2021, arXiv:2010.01412; Kwon et al. 2021, arXiv:2102.11600 (adaptive)"

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        from nnopt.optim import sam

        return sam.SharpnessAware(self.base.build(parameters), parameters, self.rho, self.adaptive)


class Lookahead(Wrapper):
    """Lookahead: several steps of another optimizer, then a part of the way back to where they began."""

    kind: Literal["lookahead"]
    every: int = Field(5, gt=0, description="steps of base until the slow weights follow, k")
    alpha: float = Field(0.5, gt=0, le=1, description="share of the way that the slow weights go, α")

    year: ClassVar[int | None] = 2019
    formula: ClassVar[str] = "every k steps of base: φ ← φ + α(θ − φ); θ ← φ"
    source: ClassVar[str] = "Zhang et al. 2019, arXiv:1907.08610"

    @model_validator(mode="after")
    def _base_shows_its_own_weights(self) -> Lookahead:
        if self.base.shows_others:
            raise mistake_at(
                ("base", "kind"),
                f"{self.base.kind} averages its weights along the way, which lookahead would set back under it: "
                "take one such as sgd or adam",
            )
        return self

    def build(self, parameters: Parameters) -> Optimizer:
        """As `AnyOptimizerSpec.build`."""
        from nnopt.optim import lookahead

        return lookahead.Lookahead(self.base.build(parameters), parameters, self.every, self.alpha)


MEMBERS: tuple[type[AnyOptimizerSpec], ...] = (Sam, Lookahead)
