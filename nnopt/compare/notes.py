"""What a reader of the table has to know and cannot see in it: one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnopt.compare.groups import NO_RESULT, Group
from nnopt.compare.series import series
from nnopt.compare.spread import Spread
from nnopt.compare.target import Target
from nnopt.store.record import RunRecord

SHOWN = 3
# Keys on which it depends which samples a run is judged by.
DATA_KEYS = ("data.kind", "data.validation", "data.test", "data.split_seed")


def make_notes(
    groups: Sequence[Group],
    metric: str,
    targets: Sequence[Target | None],
    differing: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Sentences on `groups`, in the order of their weight; `targets` has a member a group."""
    runs = [record for group in groups for record in group.records]
    return [
        *_without_result(groups),
        *_unfinished(runs),
        *_not_alike(runs, metric, differing),
        *_missing(groups, metric),
        *_lengths(groups, metric),
        *_seeds(groups),
        *_targets(groups, targets),
    ]


def within_spread(means: Sequence[tuple[str, Spread | None]]) -> list[str]:
    """A sentence on the variants that the seeds do not tell from the best, the first of `means`."""
    best, spread = means[0]
    if spread is None or spread.sd is None:
        return []
    near = [
        label
        for label, other in means[1:]
        if other and other.sd is not None and abs(other.mean - spread.mean) <= max(other.sd, spread.sd)
    ]
    which = f"{_listed(near)} {'lies' if len(near) == 1 else 'lie'}"
    return [f"{which} within one standard deviation of {best}: only more seeds can tell them apart."] if near else []


def _without_result(groups: Sequence[Group]) -> Iterable[str]:
    for group in groups:
        for status in NO_RESULT:
            count, total, left = group.count(status), len(group.records), len(group.results)
            if not count:
                continue
            which = f"{count} of {total} runs {status}" if count < total else f"every run {status}"
            where = ", ".join(_end(record) for record in group.records if record.status == status)
            means = f"means are over the other {left}" if left else "there is no mean"
            rank = "it ranks after variants without; " if status == "diverged" else ""
            yield f"{group.label}: {which} ({where}); {rank}{means}."


def _end(record: RunRecord) -> str:
    """Where a run without result ended: `seed 1 at step 40`, or why."""
    step = (record.summary.get("diverged") or {}).get("step")
    if step is not None:
        return f"seed {record.seed} at step {step}"
    reason = record.summary.get("reason")
    return f"seed {record.seed}: {reason}" if reason else f"seed {record.seed}"


def _unfinished(runs: Sequence[RunRecord]) -> Iterable[str]:
    for status in ("interrupted", "running", "pruned"):
        names = [record.name for record in runs if record.status == status]
        if names:
            is_or_are = "is" if len(names) == 1 else "are"
            yield f"{_listed(names)} {is_or_are} {status}: the last value so far counts."


def _not_alike(runs: Sequence[RunRecord], metric: str, differing: Mapping[str, Any]) -> Iterable[str]:
    data = [key for key in DATA_KEYS if key in differing]
    if data:
        yield f"The variants differ in {', '.join(data)}: they are judged on different data."
    if "loss.kind" in differing and metric.endswith("loss"):
        yield f"The variants differ in loss.kind: their {metric} is not the same quantity."
    devices = sorted({str(record.summary["device"]) for record in runs if record.summary.get("device")})
    if len(devices) > 1:
        yield f"The runs used different devices ({', '.join(devices)}): their times do not compare."
    selects = sorted({str(record.summary["select"]) for record in runs if record.summary.get("select")})
    if len(selects) > 1:
        yield f"The runs chose their best weights by different metrics: {', '.join(selects)}."


def _missing(groups: Sequence[Group], metric: str) -> Iterable[str]:
    names = [record.name for group in groups for record in group.results if not series(record, metric).values]
    if names:
        yield f"There is no {metric} in {_listed(names)}."


def _lengths(groups: Sequence[Group], metric: str) -> Iterable[str]:
    done = [record for group in groups for record in group.results if record.status == "done"]
    lengths = {int(curve.steps[-1]) for curve in (series(record, metric) for record in done) if curve.values}
    if len(lengths) > 1:
        yield (
            f"The runs are of unequal length, {min(lengths)} to {max(lengths)} steps: "
            "each counts with its own last value."
        )


def _seeds(groups: Sequence[Group]) -> Iterable[str]:
    single = [group.label for group in groups if len(group.records) == 1]
    if single:
        which = "Every variant has" if len(single) == len(groups) > 1 else f"{_listed(single)}:"
        yield f"{which} one seed: an anecdote, without a spread."
    if len({tuple(record.seed for record in group.records) for group in groups}) > 1:
        yield "The variants were not run with the same seeds: they are not paired."


def _targets(groups: Sequence[Group], targets: Sequence[Target | None]) -> Iterable[str]:
    given = list(dict.fromkeys(target for target in targets if target is not None))
    without = [group.label for group, target in zip(groups, targets, strict=True) if target is None]
    if not given:
        yield "No run has a target, so there is no time to it: --target VALUE sets one."
    elif without:
        yield f"{_listed(without)}: no target."
    if len(given) > 1:
        values = ", ".join(f"{target.metric} {target.value:g}" for target in given)
        yield f"The targets differ ({values}): --target VALUE measures all by one."


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
