"""Averages of the weights over training, on which a run is then evaluated."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from nnopt.spec.base import Kinds, KindSpec
from nnopt.spec.timing import Every


class AverageSpec(KindSpec):
    """An average of the weights; floating-point buffers (batch norm's statistics) are averaged alike."""


class Ema(AverageSpec):
    """Exponential moving average, updated after every step."""

    kind: Literal["ema"]
    decay: float = Field(0.999, ge=0, lt=1, description="weight of the old average, β")

    formula: ClassVar[str] = "a ← βa + (1−β)θ, from a = θ at the start"
    source: ClassVar[str] = "Polyak & Juditsky 1992, Acceleration of Stochastic Approximation by Averaging"


class Swa(AverageSpec):
    """Stochastic weight averaging: the plain mean of the weights at regular points near the end."""

    kind: Literal["swa"]
    start: float = Field(0.75, ge=0, lt=1, description="share of the budget after which averaging begins")
    every: Every = Field(Every(epochs=1), description="how often the weights join the mean")

    formula: ClassVar[str] = "a ← (k·a + θ)/(k+1) at the k-th of the points averaged"
    source: ClassVar[str] = "Izmailov et al. 2018, arXiv:1803.05407"


AVERAGES = Kinds("average", AverageSpec, (Ema, Swa))
