"""Which runs enter a comparison, and a sentence on each that does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnopt.compare.groups import Group
from nnopt.compare.measures import Measure
from nnopt.compare.series import AXES
from nnopt.compare.target import TimeToTarget
from nnopt.compare.text import listed
from nnopt.errors import RunsFolderError
from nnopt.store.record import METRICS, RunRecord


def readable(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """The runs whose metrics.csv is whole, and a sentence on each other one."""
    kept, left_out = [], []
    for record in records:
        try:
            curve = record.curve()
            _check_axes(record)
        except RunsFolderError as error:
            left_out.append(f"{record.name} is left out: {error}.")
            continue
        kept.append(record)
        if record.status == "done" and (short := _cut_short(record, curve.get("step", []))):
            left_out.append(short)
            kept.pop()
    return kept, left_out


def _check_axes(record: RunRecord) -> None:
    curve = record.curve()
    lacking = [name for name in AXES if curve and (name not in curve or None in curve[name])]
    if lacking:
        raise RunsFolderError(f"{record.folder / METRICS} is damaged: it lacks values of {' or '.join(lacking)}")


def _cut_short(record: RunRecord, steps: Sequence[float | None]) -> str | None:
    """A run that is done has a row at its last step: without it the last value would be that of an earlier one."""
    ended = record.summary.get("steps")
    if ended is None or (steps and steps[-1] == ended):
        return None
    at = f"ends at step {steps[-1]:g}" if steps and steps[-1] is not None else "has no rows"
    return f"{record.name} is left out: its {METRICS} {at}, and the run at step {ended}; train it again with --fresh."


def unfinished(groups: Sequence[Group]) -> list[str]:
    """A sentence on each group with runs that have not ended."""
    said = []
    for group in groups:
        if not group.unfinished:
            continue
        which = [f"seed {record.seed} {_state(record)}" for record in group.unfinished]
        total = len(group.records)
        said.append(f"{group.label}: {listed(which)} ({len(which)} of {total} left out of all numbers).")
    return said


def _state(record: RunRecord) -> str:
    if record.status == "running":
        return "is still running"
    reason = record.summary.get("reason")
    return f"was {record.status}" if record.status != "failed" else f"failed: {reason}" if reason else "failed"


def without_target(groups: Sequence[Group], times: Mapping[str, TimeToTarget | None]) -> list[str]:
    """A sentence on the runs that are done and have no value of their target's metric."""
    names: dict[str, list[str]] = {}
    for group in groups:
        found = times[group.label]
        if found and found.without:
            names.setdefault(found.target.metric, []).extend(
                record.name for record in group.records if record.seed in found.without
            )
    return [f"There is no {metric} in {listed(runs)}: in no time to target." for metric, runs in names.items()]


def without_value(groups: Sequence[Group], measure: Measure) -> list[str]:
    """A sentence on the runs that are done and have no value of the measure."""
    names = [record.name for group in groups for record in group.results if measure.read(record) is None]
    return [f"There is no {measure.name} in {listed(names)}: left out."] if names else []
