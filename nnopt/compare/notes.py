"""What a reader of the table has to know and cannot see in it: one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nnopt.compare.end_rate import exchange
from nnopt.compare.folds import fold_notes
from nnopt.compare.groups import Group
from nnopt.compare.measures import Measure
from nnopt.compare.rows import Row
from nnopt.compare.series import series
from nnopt.compare.target import Target
from nnopt.compare.text import listed
from nnopt.compare.verdict import Verdict
from nnopt.store.record import RunRecord


def make_notes(
    groups: Sequence[Group],
    metric: str,
    targets: Sequence[Target | None],
    several_tasks: bool,
) -> list[str]:
    """Sentences on `groups`, in the order of their weight; `targets` has a member a group.

    Of several tasks it goes without saying that lengths and targets differ.
    """
    if several_tasks:
        return [*_diverged(groups), *fold_notes(groups)]
    return [
        *_diverged(groups),
        *fold_notes(groups),
        *_lengths(groups, metric),
        *_targets(groups, targets),
    ]


def exchange_notes(rows: Sequence[Row], verdicts: Sequence[Verdict], measure: Measure) -> list[str]:
    """Where runs are of unequal length: how many steps the variant behind would need, at the rate near its end."""
    by_label = {row.label: row for row in rows}
    said = []
    for verdict in verdicts:
        estimate = verdict.difference.estimate
        if estimate is None or not math.isfinite(estimate) or estimate == 0 or measure.column != measure.name:
            continue
        ahead = (estimate > 0) == measure.higher_is_better
        behind = by_label[verdict.baseline if ahead else verdict.label]
        rate = behind.end_rate and behind.end_rate.mean
        steps = exchange(abs(estimate) if measure.higher_is_better else -abs(estimate), rate or 0.0)
        if rate and steps is not None:
            said.append(
                f"Near its end {behind.label} still changes by {rate:+.2g} per hundred steps: at this rate it would "
                f"make up its difference in {measure.name} in some {steps:,.0f} steps."
            )
    return said


def _diverged(groups: Sequence[Group]) -> Iterable[str]:
    for group in groups:
        count, total, left = len(group.lost), len(group.records), len(group.results)
        if count:
            which = f"{count} of {total} runs diverged" if count < total else "every run diverged"
            where = ", ".join(_end(record) for record in group.lost)
            means = (
                f"means are over the {left} that {'is' if left == 1 else 'are'} done" if left else "there is no mean"
            )
            yield f"{group.label}: {which} ({where}): it ranks after variants without, and worst in tests; {means}."


def _end(record: RunRecord) -> str:
    """Where a run diverged: `seed 1 at step 40`."""
    step = (record.summary.get("diverged") or {}).get("step")
    return f"seed {record.seed} at step {step}" if step is not None else f"seed {record.seed}"


def last_steps(groups: Sequence[Group], metric: str) -> set[int]:
    """The steps at which runs that are done have their last value."""
    done = [record for group in groups for record in group.results]
    return {int(curve.steps[-1]) for curve in (series(record, metric) for record in done) if curve.values}


def _lengths(groups: Sequence[Group], metric: str) -> Iterable[str]:
    lengths = last_steps(groups, metric)
    if len(lengths) > 1:
        yield (
            f"The runs are of unequal length, {min(lengths)} to {max(lengths)} steps: "
            "each counts with its own last value."
        )


def _targets(groups: Sequence[Group], targets: Sequence[Target | None]) -> Iterable[str]:
    given = list(dict.fromkeys(target for target in targets if target is not None))
    without = [group.label for group, target in zip(groups, targets, strict=True) if target is None]
    if not given:
        yield "No run has a target, so there is no time to it: --target VALUE sets one."
    elif without:
        yield f"{listed(without)}: no target."
    if len(given) > 1:
        values = ", ".join(f"{target.metric} {target.value:g}" for target in given)
        yield f"The targets differ ({values}): --target VALUE measures all by one."
