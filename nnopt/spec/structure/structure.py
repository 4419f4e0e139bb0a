"""`structure:` as a whole."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from nnopt.spec.base import Spec, mistake_at
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

    @model_validator(mode="after")
    def _cuts_before_it_prunes(self) -> StructureSpec:
        if self.low_rank is None or self.prune is None:
            return self
        cut, first, rewind = self.low_rank.at, self.prune.schedule.points[0][0], self.prune.rewind
        if self.prune.granularity != "channels" and cut > first:
            raise mistake_at(
                ("low_rank", "at"),
                f"should not lie after the first removal of weights at {first:g} of the budget: "
                "layers cut in two have other weights, none of them 0",
            )
        if rewind is not None and rewind.weights and rewind.to < cut:
            raise mistake_at(
                ("prune", "rewind", "to"),
                f"should not lie before low_rank.at of {cut:g}: the layers have other weights from then on",
            )
        return self

    @model_validator(mode="after")
    def _rounds_layers_that_stay(self) -> StructureSpec:
        starts = None if self.quantise is None else self.quantise.starts
        if starts is None:
            return self
        if self.low_rank is not None and starts < self.low_rank.at:
            text = f"should not lie before low_rank.at of {self.low_rank.at:g}: new layers come then"
            raise mistake_at(("quantise", "start"), text)
        if self.prune is not None and self.prune.granularity == "channels":
            last = self.prune.schedule.points[-1][0]
            if starts < last:
                text = f"should not lie before the last removal of channels at {last:g} of the budget"
                raise mistake_at(("quantise", "start"), text)
        return self
