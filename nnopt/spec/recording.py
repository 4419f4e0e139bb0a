"""Which updates can be recorded once and replayed (strategy.graph)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnopt.spec.strategy import GrowingBatch

if TYPE_CHECKING:
    from nnopt.spec.experiment import RunSettings


def refusal(settings: RunSettings) -> str | None:
    """Why the updates of a run are not the same steps over and over, or None."""
    optimizer = settings.optimizer
    if not (optimizer.recordable and optimizer.inner.recordable):
        return f"optimizer {optimizer.kind} looks at numbers on the host within a step, which a graph cannot hold"
    reading = next((change.kind for change in settings.data.augment if not change.recordable), None)
    if reading is not None:
        return f"data.augment {reading} looks at what it drew on the host, which a graph cannot hold"
    if isinstance(settings.strategy.batch_size, GrowingBatch):
        return "a graph holds one size of batch, and this one grows"
    if settings.structure.changes_network or settings.model.unfreeze:
        return "a graph holds one network, and what trains here changes on the way"
    if settings.parallel is not None:
        return "a graph holds the updates of one process, and parallel has several"
    return None
