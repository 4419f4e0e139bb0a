"""Runs of one spec, gathered over seeds: what a row of the comparison stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from nnopt.store.record import RunRecord


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed, in the order of their seeds.

    `label` names the group among those that it is compared with.
    """

    label: str
    experiment: str
    variant: str
    trial: int | None
    spec_hash: str
    records: tuple[RunRecord, ...]

    @cached_property
    def results(self) -> tuple[RunRecord, ...]:
        """The runs that are done: means are taken over them."""
        return tuple(record for record in self.records if record.status == "done")

    @cached_property
    def lost(self) -> tuple[RunRecord, ...]:
        """The runs that diverged: no mean takes them in, and they rank worst in every statistic."""
        return tuple(record for record in self.records if record.status == "diverged")

    @cached_property
    def unfinished(self) -> tuple[RunRecord, ...]:
        """The other runs (failed, interrupted, running, pruned): they say nothing of the variant yet."""
        return tuple(record for record in self.records if record.status not in ("done", "diverged"))

    def count(self, status: str) -> int:
        """The number of runs with this status."""
        return sum(record.status == status for record in self.records)


def group_runs(records: Iterable[RunRecord]) -> tuple[list[Group], list[str]]:
    """The groups in the order of their first runs, and a sentence on each seed that came twice.

    A group is one experiment, variant, trial and spec hash. Of two runs with one seed the first is kept.
    """
    gathered: dict[tuple[str, str, int | None, str], dict[int, RunRecord]] = {}
    notes: list[str] = []
    for record in records:
        key = (record.experiment, record.variant, record.trial, record.spec_hash)
        seeds = gathered.setdefault(key, {})
        first = seeds.setdefault(record.seed, record)
        if first is not record and first.folder.resolve() != record.folder.resolve():
            notes.append(f"{record.folder} repeats seed {record.seed} of {first.folder} and is left out.")
    return [
        Group(label, *key, records=tuple(seeds[seed] for seed in sorted(seeds)))
        for (key, seeds), label in zip(gathered.items(), _labels(list(gathered)), strict=True)
    ], notes


def _labels(keys: Sequence[tuple[str, str, int | None, str]]) -> list[str]:
    """A name a group: the variant, with as much of experiment, trial and hash as tells the groups apart."""
    many = len({experiment for experiment, *_ in keys}) > 1
    names = []
    for experiment, variant, trial, _ in keys:
        name = f"{experiment}/{variant}" if many else variant
        names.append(name if trial is None else f"{name}/trial-{trial}")
    equal = Counter(names)
    return [
        f"{name} ({spec_hash[:6]})" if equal[name] > 1 else name
        for name, (*_, spec_hash) in zip(names, keys, strict=True)
    ]
