"""How the learning rate changes over the budget: one class a kind, each with a warm-up.

In the formulas s is the share of the budget, after the warm-up, that is used before an update.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from nnopt import schedules
from nnopt.spec.base import Items, Kinds, KindSpec
from nnopt.spec.metric_names import higher_is_better


class LrDecaySpec(KindSpec, ABC):
    """A schedule of the learning rate."""

    warmup: float = Field(
        0.0, ge=0, lt=1, description="share of the budget over which the rate first rises linearly from 0"
    )

    # Whether the decay follows the share of the budget, so that its length matters from the first step.
    follows_budget: ClassVar[bool] = True

    @abstractmethod
    def decay(self, share: float) -> float:
        """The multiplier once `share` (0 to 1) of what is left after the warm-up is used."""

    def multiplier(self, before: float, after: float) -> float:
        """What the learning rate of one update is multiplied by.

        `before` and `after` are the shares of the budget that are used before and after this update. The
        warm-up looks at `after`, so that the first update is not lost on a rate of 0.
        """
        left = (before - self.warmup) / (1 - self.warmup)
        return schedules.warmup(after, self.warmup) * self.decay(min(max(left, 0.0), 1.0))

    def plateau(self) -> schedules.Plateau | None:
        """For `plateau`, its state at the start, whose multiplier comes on top; None for all others."""
        return None

    @property
    def horizon_free(self) -> bool:
        """Whether the rate does not depend on the budget's length, so that a larger budget can go on."""
        return self.warmup == 0 and not self.follows_budget


class Constant(LrDecaySpec):
    """The learning rate stays as it is."""

    kind: Literal["constant"]

    follows_budget: ClassVar[bool] = False
    formula: ClassVar[str] = "1"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return 1.0


class Step(LrDecaySpec):
    """Falls by a factor at regular points."""

    kind: Literal["step"]
    every: float = Field(0.3, gt=0, le=1, description="share of the budget between two falls")
    factor: float = Field(0.1, gt=0, le=1, description="what the rate is multiplied by at each fall")

    formula: ClassVar[str] = "factor^⌊s/every⌋"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.step(share, self.every, self.factor)


class MultiStep(LrDecaySpec):
    """Falls by a factor at given points."""

    kind: Literal["multistep"]
    at: Items[float] = Field(
        (0.5, 0.75), description="shares of the budget at which the rate falls, each between 0 and 1"
    )
    factor: float = Field(0.1, gt=0, le=1, description="what the rate is multiplied by at each fall")

    formula: ClassVar[str] = "factor^(number of points in `at` that are ≤ s)"

    @model_validator(mode="after")
    def _points_rise(self) -> MultiStep:
        if not self.at or any(not 0 < point < 1 for point in self.at) or list(self.at) != sorted(set(self.at)):
            raise ValueError("'at' should be a rising list of shares between 0 and 1, such as [0.5, 0.75]")
        return self

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.multistep(share, self.at, self.factor)


class Exponential(LrDecaySpec):
    """Falls by the same factor at every update."""

    kind: Literal["exponential"]
    final: float = Field(0.01, gt=0, le=1, description="multiplier at the end of the budget")

    formula: ClassVar[str] = "final^s"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.exponential(share, self.final)


class Polynomial(LrDecaySpec):
    """Falls as a power of the share that is left."""

    kind: Literal["polynomial"]
    power: float = Field(2.0, gt=0, description="exponent; 1 is a straight line")
    final: float = Field(0.0, ge=0, le=1, description="multiplier at the end of the budget")

    formula: ClassVar[str] = "final + (1 − final)(1 − s)^power"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.polynomial(share, self.power, self.final)


class Linear(LrDecaySpec):
    """Falls along a straight line."""

    kind: Literal["linear"]
    final: float = Field(0.0, ge=0, le=1, description="multiplier at the end of the budget")

    formula: ClassVar[str] = "1 − (1 − final)s"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.polynomial(share, 1.0, self.final)


class Cosine(LrDecaySpec):
    """Falls along half a cosine."""

    kind: Literal["cosine"]
    final: float = Field(0.0, ge=0, le=1, description="multiplier at the end of the budget")

    formula: ClassVar[str] = "final + (1 − final)(1 + cos πs)/2"
    source: ClassVar[str] = "Loshchilov & Hutter 2017, arXiv:1608.03983"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.cosine(share, self.final)


class CosineRestarts(LrDecaySpec):
    """Falls along half a cosine and starts anew, several times."""

    kind: Literal["cosine_restarts"]
    cycles: int = Field(3, gt=0, le=1000, description="number of cosines in the budget")
    growth: float = Field(1.0, ge=1, description="how many times as long as the one before each cycle is")
    final: float = Field(0.0, ge=0, le=1, description="multiplier at the end of each cycle")

    formula: ClassVar[str] = "final + (1 − final)(1 + cos πx)/2, x the share of the cycle that is used"
    source: ClassVar[str] = "Loshchilov & Hutter 2017, arXiv:1608.03983"

    @model_validator(mode="after")
    def _first_cycle_is_not_lost(self) -> CosineRestarts:
        if (self.cycles - 1) * math.log(self.growth) > math.log(1e6):
            raise ValueError(
                f"with {self.cycles} cycles that grow {self.growth:g} times each, the first would take less "
                "than a millionth of the budget: take fewer cycles or a smaller growth"
            )
        return self

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.cosine_restarts(share, self.cycles, self.growth, self.final)


class InverseSqrt(LrDecaySpec):
    """Falls as one over the square root of time."""

    kind: Literal["inverse_sqrt"]
    timescale: float = Field(0.1, gt=0, description="share of the budget after which the rate is 1/√2 of its start")

    formula: ClassVar[str] = "1/√(1 + s/timescale)"
    source: ClassVar[str] = "Vaswani et al. 2017, arXiv:1706.03762, with warm-up w and timescale w/(1 − w)"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.inverse_sqrt(share, self.timescale)


class OneCycle(LrDecaySpec):
    """Rises to the learning rate along half a cosine, then falls along another."""

    kind: Literal["one_cycle"]
    peak: float = Field(0.3, gt=0, lt=1, description="share of the budget at which the rate is highest")
    start: float = Field(0.04, ge=0, le=1, description="multiplier at the start")
    final: float = Field(4e-6, ge=0, le=1, description="multiplier at the end of the budget")

    formula: ClassVar[str] = "start → 1 until s = peak, then 1 → final, each along half a cosine"
    source: ClassVar[str] = "Smith & Topin 2017, arXiv:1708.07120"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.one_cycle(share, self.peak, self.start, self.final)


class Cyclic(LrDecaySpec):
    """Rises and falls in triangles."""

    kind: Literal["cyclic"]
    cycles: int = Field(4, gt=0, description="number of triangles in the budget")
    low: float = Field(0.1, ge=0, le=1, description="multiplier at the foot of a triangle")

    formula: ClassVar[str] = "low + (1 − low)(1 − |2x − 1|), x the share of the triangle that is used"
    source: ClassVar[str] = "Smith 2017, arXiv:1506.01186"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.cyclic(share, self.cycles, self.low)


class Wsd(LrDecaySpec):
    """Warm-up, stable, decay: stays as it is until a last part of the budget, in which it falls."""

    kind: Literal["wsd"]
    decay_share: float = Field(0.2, gt=0, le=1, description="share of the budget, at its end, over which it falls")
    final: float = Field(0.0, ge=0, le=1, description="multiplier at the end of the budget")
    shape: schedules.Shape = Field("linear", description="how it falls: linear, cosine, or sqrt (1 − √x)")

    formula: ClassVar[str] = "1 while s < 1 − decay_share, then down to final in the given shape"
    source: ClassVar[str] = "Hu et al. 2024, arXiv:2404.06395; Hägele et al. 2024, arXiv:2405.18392 (sqrt)"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`."""
        return schedules.warmup_stable_decay(share, self.decay_share, self.final, self.shape)


class Plateau(LrDecaySpec):
    """Falls by a factor when a validation metric has stopped improving."""

    kind: Literal["plateau"]
    metric: str = Field("val_loss", description="column of metrics.csv to watch")
    patience: int = Field(3, gt=0, description="evaluations in a row without improvement before the rate falls")
    factor: float = Field(0.1, gt=0, lt=1, description="what the rate is multiplied by at each fall")
    min_delta: float = Field(0.0, ge=0, description="smallest change that counts as an improvement")
    minimum: float = Field(0.0, ge=0, le=1, description="multiplier below which the rate does not fall")

    follows_budget: ClassVar[bool] = False
    formula: ClassVar[str] = "max(minimum, factor^k) after k falls"

    def decay(self, share: float) -> float:
        """As `LrDecaySpec.decay`: 1, as the falls are counted by `plateau`."""
        return 1.0

    def plateau(self) -> schedules.Plateau:
        """As `LrDecaySpec.plateau`."""
        return schedules.Plateau(
            self.patience, self.factor, self.min_delta, self.minimum, higher_is_better(self.metric)
        )


LR_DECAYS = Kinds(
    "lr_decay",
    LrDecaySpec,
    (
        Constant,
        Step,
        MultiStep,
        Exponential,
        Polynomial,
        Linear,
        Cosine,
        CosineRestarts,
        InverseSqrt,
        OneCycle,
        Cyclic,
        Wsd,
        Plateau,
    ),
)
