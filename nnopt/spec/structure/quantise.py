"""`structure.quantise`: weights and arithmetic in 8 bits."""

from __future__ import annotations

from abc import abstractmethod
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

    @property
    @abstractmethod
    def rounds_inputs(self) -> bool:
        """Whether the inputs of a layer are int8 as well as its weights."""


class WeightOnly(QuantiseSpec):
    """Weights kept in int8 with a scale for each output, computed with as fp32: a quarter of the bytes, not faster."""

    formula: ClassVar[str] = "q = round(w / s), s = max|w| / 127.5 of each output's weights; y = s·(q·x)"

    kind: Literal["int8_weight_only"]

    @property
    def rounds_inputs(self) -> bool:
        """As the base class says."""
        return False


class Dynamic(QuantiseSpec):
    """Weights and each layer's inputs in int8: products of whole numbers, on a CPU no faster than fp32 in small layers.

    Of linear layers torchao multiplies them as int8; for convolutions it has no such kernel, and they are multiplied
    as fp32, with the same sums.
    """

    formula: ClassVar[str] = (
        "y = s_x·s_w·(q_x·q_w), s_x = max|x| / 127.5 of each sample; convolutions multiply q as fp32"
    )

    kind: Literal["int8_dynamic"]

    @property
    def rounds_inputs(self) -> bool:
        """As the base class says."""
        return True


class Aware(QuantiseSpec):
    """Training sees the rounding from `start` on, with a gradient that passes it straight through."""

    source: ClassVar[str] = "Jacob et al. 2018, arXiv:1712.05877; Bengio et al. 2013, arXiv:1308.3432"

    kind: Literal["int8_aware"]
    start: float = Field(0.5, ge=0, lt=1, description="share of the budget from which rounding is trained with")
    to: Literal["weight_only", "dynamic"] = Field("dynamic", description="what is rounded, then and in the end")

    @property
    def starts(self) -> float | None:
        """As the base class says."""
        return self.start

    @property
    def rounds_inputs(self) -> bool:
        """As the base class says."""
        return self.to == "dynamic"


QUANTISERS = Kinds("quantise", QuantiseSpec, (WeightOnly, Dynamic, Aware))
