"""What a search is reported by: chosen on validation data, its winners are told on test data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnopt.store.record import RunRecord
from nnopt.store.search_file import SearchFile


def reported_metric(objective: str, records: Sequence[RunRecord]) -> str:
    """The measure on test data that belongs to a search's objective; the objective itself where none does."""
    column = objective.removeprefix("best_")
    if not column.startswith("val_"):
        return objective
    name = f"test_{'best_' if column != objective else ''}{column.removeprefix('val_')}"
    weights = "best" if column != objective else "last"
    tested = [(record.summary.get("test") or {}).get(weights) or {} for record in records]
    return name if any(column.removeprefix("val_") in values for values in tested) else objective


def metric_of_winners(files: Iterable[SearchFile], records: Sequence[RunRecord]) -> str | None:
    """The measure that all `records` are reported by, where each confirms a winner; else None."""
    winners = {
        (file.experiment, label, winner.spec_hash): file.metric
        for file in files
        for name in file.variants
        for label, winner in file.confirmed_as(name).items()
    }
    found = {
        None if record.trial is not None else winners.get((record.experiment, record.variant, record.spec_hash))
        for record in records
    }
    objective = found.pop() if len(found) == 1 else None
    return None if objective is None else reported_metric(objective, records)
