"""Which layers a change of the structure reaches."""

from __future__ import annotations

from pydantic import Field

from nnopt.spec.base import Items, KindSpec, Spec

LAYERS_HELP = "patterns of layer names (`nnopt show RUN --layers`) that it reaches"
LEAVE_OUT_HELP = "patterns of layer names that it leaves as they are"


class ReachesLayers(Spec):
    """A change that reaches linear and convolution layers by name."""

    layers: Items[str] = Field(("*",), min_length=1, description=LAYERS_HELP)
    leave_out: Items[str] = Field((), description=LEAVE_OUT_HELP)


class ReachesLayersByKind(ReachesLayers, KindSpec):
    """The same for a member of a union."""
