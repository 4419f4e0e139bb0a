"""What changes a network and when, in plain words, for people who check their spec."""

from __future__ import annotations

from collections.abc import Iterator

from nnopt.spec.experiment import ExperimentSpec
from nnopt.spec.structure.prune import PruneSpec
from nnopt.spec.structure.structure import StructureSpec


def structure_in_words(spec: ExperimentSpec) -> list[str]:
    """A line a variant whose network changes, or learns from others: what happens at which share of the budget."""
    lines = []
    for name, settings in spec.variants.items():
        parts = list(_parts(settings.structure))
        if parts:
            lines.append(f"structure of {name}: {'; '.join(parts)}")
    return lines


def _parts(structure: StructureSpec) -> Iterator[str]:
    if structure.low_rank is not None:
        low_rank = structure.low_rank
        kept = f"rank {low_rank.rank}" if low_rank.rank else f"{low_rank.energy:g} of the energy"
        yield f"cut to {kept} at {low_rank.at:g} of the budget"
    if structure.prune is not None:
        yield _pruning(structure.prune)
    if structure.quantise is not None:
        start = structure.quantise.starts
        rounding = "" if start is None else f", trained with from {start:g} of the budget"
        yield f"{structure.quantise.kind} when training is over{rounding}"
    if structure.distill is not None:
        names = ", ".join(str(teacher.run or teacher.checkpoint) for teacher in structure.distill.teachers)
        yield f"learns from {names}, which count {structure.distill.weight:g} of the loss"


def _pruning(prune: PruneSpec) -> str:
    amounts = prune.schedule.amounts(prune.share)
    (first, _), (last, _) = amounts[0], amounts[-1]
    when = f"at {first:g}" if len(amounts) == 1 else f"in {len(amounts)} steps from {first:g} to {last:g}"
    what = "channels" if prune.granularity == "channels" else "weights"
    back = ""
    if prune.rewind is not None:
        back = f", each time {'weights' if prune.rewind.weights else 'the rate'} back to {prune.rewind.to:g}"
    return f"{prune.share:.4g} of the {what} go by {prune.kind}, {when} of the budget{back}"
