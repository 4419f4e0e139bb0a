"""`structure:` as a whole."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nnopt.spec.base import Spec
from nnopt.spec.structure.distill import DistillSpec
from nnopt.spec.structure.low_rank import LowRankSpec
from nnopt.spec.structure.prune import PRUNERS_OF_STRUCTURE, PruneSpec
from nnopt.spec.structure.quantise import QUANTISERS, QuantiseSpec


class StructureSpec(Spec):
    """What makes the network smaller, or has it learn from a larger one."""

    low_rank: LowRankSpec | None = Field(None, description="cut layers in two by their singular values")
    prune: Annotated[PruneSpec, PRUNERS_OF_STRUCTURE] | None = Field(
        None, description="remove weights, channels and neurons"
    )
    quantise: Annotated[QuantiseSpec, QUANTISERS] | None = Field(None, description="int8")
    distill: DistillSpec | None = Field(None, description="learn from trained networks")

    @property
    def changes_network(self) -> bool:
        """Whether the network that comes out is another one than the model says."""
        return any(part is not None for part in (self.low_rank, self.prune, self.quantise))
