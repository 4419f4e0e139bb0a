"""From `structure:` and `model.unfreeze` of a spec to what changes the network."""

from __future__ import annotations

from nnopt.train.shaping.operation import Bench, Operation
from nnopt.train.shaping.shaping import Shaping


def build_shaping(bench: Bench) -> Shaping | None:
    """The changes that the spec asks for, checked against the model; None where there are none.

    Raises:
        UsageError: a pattern matches no layer, or a layer cannot be changed so.
    """
    structure = bench.settings.structure
    operations: list[Operation] = []
    if bench.settings.model.unfreeze:
        from nnopt.train.shaping.unfreezing import Unfreezing

        operations.append(Unfreezing(bench))
    if structure.low_rank is not None:
        from nnopt.train.shaping.low_rank import Cutting

        operations.append(Cutting(structure.low_rank, bench))
    if structure.prune is not None:
        if structure.prune.granularity == "channels":
            from nnopt.train.shaping.channels import ChannelRemoval

            operations.append(ChannelRemoval(structure.prune, bench))
        else:
            from nnopt.train.shaping.masking import Masking

            operations.append(Masking(structure.prune, bench))
    if structure.quantise is not None:
        from nnopt.train.shaping.quantising import Quantising

        operations.append(Quantising(structure.quantise, bench))
    return Shaping(bench, operations) if operations else None
