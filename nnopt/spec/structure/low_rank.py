"""`structure.low_rank`: layers replaced by two thinner ones."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from nnopt.spec.structure.layers import ReachesLayers


class LowRankSpec(ReachesLayers):
    """Linear and convolution layers cut in two by their singular values; where that saves nothing they stay.

    A kernel [out, in, h, w] is cut as the matrix [out, in·h·w]: r kernels, then 1x1 kernels from r to out.
    Convolutions of several groups stay. The optimizer's memory and an average of the weights begin anew.
    """

    formula: ClassVar[str] = "W ≈ U_r·S_r·V_rᵀ: W₂ = U_r·√S_r, W₁ = √S_r·V_rᵀ"
    source: ClassVar[str] = "Eckart & Young 1936; Denil et al. 2013, arXiv:1306.0543"

    rank: int | None = Field(None, gt=0, description="singular values kept in each layer")
    energy: float | None = Field(None, gt=0, le=1, description="share of Σ s² that the values kept have at least")
    at: float = Field(0.5, ge=0, le=1, description="share of the budget; the rest is for fine-tuning")

    @model_validator(mode="after")
    def _exactly_one(self) -> LowRankSpec:
        if (self.rank is None) == (self.energy is None):
            raise ValueError("should have exactly one of rank, energy")
        return self
