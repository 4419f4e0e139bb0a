"""Cross-validation: what its runs share, and so how much less they tell than independent ones would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nnopt.compare.groups import Group
from nnopt.compare.text import listed
from nnopt.store.record import RunRecord


def folds_of(group: Group) -> int | None:
    """How many folds the data of the group's runs has; None without cross-validation."""
    specs: list[Any] = [(record.summary.get("spec") or {}).get("data") for record in group.records]
    folds = next((data.get("folds") for data in specs if isinstance(data, dict)), None)
    return folds if isinstance(folds, int) else None


def overlap(one: Group, other: Group) -> float:
    """Rows that a run is validated on by rows it is trained on, where groups are cross-validated; else 0.

    That is how much of its variance a mean over folds keeps however many they are (Nadeau and Bengio 2003): runs of
    different folds are trained on mostly the same rows.
    """
    return max(_overlap(one), _overlap(other))


def _overlap(group: Group) -> float:
    folds = folds_of(group)
    if folds is None:
        return 0.0
    known = [ratio for record in (*group.results, *group.lost) if (ratio := _ratio(record)) is not None]
    return max(known, default=1 / (folds - 1))


def _ratio(record: RunRecord) -> float | None:
    rows = (record.summary.get("data") or {}).get("rows") or {}
    train, validation = rows.get("train"), rows.get("validation")
    return validation / train if train and validation else None


def fold_notes(groups: Sequence[Group]) -> Iterable[str]:
    """What a reader has to know of runs that are cross-validated."""
    numbers = {group.label: folds for group in groups if (folds := folds_of(group)) is not None}
    if not numbers:
        return
    counts = sorted(set(numbers.values()))
    yield (
        f"Runs are cross-validated on {' and '.join(map(str, counts))} folds, so they share rows of training: t "
        "intervals and p are corrected for it (Nadeau and Bengio 2003), spreads (±) and rank tests are not."
    )
    for group in groups:
        folds = numbers.get(group.label)
        if folds is None:
            continue
        places = {record.seed % folds for record in (*group.results, *group.lost)}
        missing = [str(place) for place in range(folds) if place not in places]
        if missing:
            yield (
                f"{group.label}: no run is validated on fold{'s' if len(missing) > 1 else ''} {listed(missing)} "
                f"(of 0 to {folds - 1}): train {folds} seeds."
            )
