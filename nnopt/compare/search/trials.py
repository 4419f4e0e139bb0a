"""The trials of a search, read from the folders of their runs."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nnopt.compare.measures import Measure, find_measure
from nnopt.compare.search.trial import Status, Trial
from nnopt.compare.series import finite
from nnopt.store.record import RunRecord
from nnopt.store.search_file import SearchFile

# A trial has the first of these that one of its runs has.
FINAL: tuple[Status, ...] = ("failed", "diverged", "pruned")


def trials_of(records: Sequence[RunRecord], file: SearchFile) -> dict[str, tuple[Trial, ...]]:
    """Variant -> its trials by number; () for one that has none. Runs of seeds that no trial uses are passed over.

    Trials beyond a limit are those that `file` tells of. A trial is done when the runs of all its seeds are. Where two
    runs are of one trial and seed, the one that began later counts.

    Raises:
        UsageError: no run has the metric that the search was judged by.
        RunsFolderError: a metrics.csv is damaged.
    """
    runs: dict[tuple[str, int], dict[int, RunRecord]] = defaultdict(dict)
    for record in sorted(records, key=lambda one: str(one.summary.get("started") or "")):
        if record.trial is not None and record.variant in file.variants and record.seed in file.trial_seeds:
            runs[record.variant, record.trial][record.seed] = record
    members = [record for seeds in runs.values() for record in seeds.values()]
    over = {name: _over(name, file) for name in file.variants}
    if not members:
        return {name: tuple(trials) for name, trials in over.items()}
    measure = find_measure(file.metric, members)
    found: dict[str, list[Trial]] = {name: [] for name in file.variants}
    sizes = {(name, one.trial): one.sizes for name, variant in file.variants.items() for one in variant.sized}
    for (variant, number), seeds in sorted(runs.items()):
        settings = (record.summary.get("setting") for record in seeds.values())
        setting: dict[str, Any] = next((one for one in settings if one), {})
        trial = Trial(number, setting, "running", sizes=sizes.get((variant, number), {}))
        found[variant].append(_with_results(trial, list(seeds.values()), file, measure))
    whole = {name: sorted([*trials, *over[name]], key=lambda one: one.number) for name, trials in found.items()}
    return {name: _with_repeats(trials) for name, trials in whole.items()}


def _over(name: str, file: SearchFile) -> list[Trial]:
    """The trials of a variant that are beyond a limit, which have no runs."""
    return [Trial(one.trial, one.setting, "over", sizes=one.sizes) for one in file.variants[name].sized if one.is_over]


def _with_results(trial: Trial, records: Sequence[RunRecord], file: SearchFile, measure: Measure) -> Trial:
    statuses = {record.status for record in records}
    status: Status = next((one for one in FINAL if one in statuses), "running")
    if statuses == {"done"} and len(records) == len(file.trial_seeds):
        status = "done"
    done = sorted((record for record in records if record.status == "done"), key=lambda one: one.seed)
    values = {record.seed: value for record in done if (value := measure.read(record)) is not None}
    has_value = status == "done" and len(values) == len(records)
    against = file.against
    costs = [finite(record.summary.get(against)) for record in done] if against and has_value else []
    known = [cost for cost in costs if cost is not None]
    spent = (finite((record.summary.get("seconds") or {}).get("train")) for record in records)
    return replace(
        trial,
        status=status,
        value=statistics.fmean(values.values()) if has_value else None,
        values=values,
        cost=statistics.fmean(known) if known and len(known) == len(costs) else None,
        train_seconds=math.fsum(seconds for seconds in spent if seconds is not None),
    )


def _with_repeats(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Each trial with the number of the failed one whose setting it tries again."""
    failed: list[Trial] = []
    found = []
    for trial in trials:
        earlier = next((one for one in failed if one.setting == trial.setting), None)
        if earlier is not None:
            failed.remove(earlier)
            trial = replace(trial, again=earlier.number)
        if trial.status == "failed":
            failed.append(trial)
        found.append(trial)
    return tuple(found)
