"""`structure.quantise`: weights and arithmetic in 8 bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from nnopt.spec.base import Kinds
from nnopt.spec.structure.layers import ReachesLayersByKind


class QuantiseSpec(ReachesLayersByKind):
    """Linear and convolution layers in int8: the network that is evaluated at the end, saved and timed."""

    @property
    def starts(self) -> float | None:
        """The share of the budget from which training knows of it; None where it comes after training."""
        return None


class WeightOnly(QuantiseSpec):
    """Weights are kept in int8 with a scale for each output, and computed with as numbers of fp32."""

    formula: ClassVar[str] = "q = round(w / s), s = max|w| / 127 of each row"

    kind: Literal["int8_weight_only"]


class Dynamic(QuantiseSpec):
    """Weights in int8, inputs of each layer rounded to int8 as they come: products of whole numbers."""

    formula: ClassVar[str] = "y = s_x·s_w·(q_x·q_w), s_x = max|x| / 127 of each sample's row"

    kind: Literal["int8_dynamic"]


class Aware(QuantiseSpec):
    """Training sees the rounding from `start` on, with a gradient that passes it straight through."""

    source: ClassVar[str] = "Jacob et al. 2018, arXiv:1712.05877; Bengio et al. 2013, arXiv:1308.3432"

    kind: Literal["int8_aware"]
    start: float = Field(0.5, ge=0, lt=1, description="share of the budget from which rounding is trained with")
    to: Literal["weight_only", "dynamic"] = Field("dynamic", description="what it is rounded to in the end")

    @property
    def starts(self) -> float | None:
        """As the base class says."""
        return self.start


QUANTISERS = Kinds("quantise", QuantiseSpec, (WeightOnly, Dynamic, Aware))
