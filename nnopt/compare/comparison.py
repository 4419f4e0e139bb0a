"""What came of every variant, over its seeds: the numbers that tables, files and plots show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnopt.compare.differences import differences
from nnopt.compare.groups import Group, group_runs
from nnopt.compare.notes import make_notes, within_spread
from nnopt.compare.series import finite, series
from nnopt.compare.spread import Spread, mean
from nnopt.compare.target import Target, TimeToTarget, check_target, time_to_target
from nnopt.errors import UsageError
from nnopt.spec.base import nearest
from nnopt.spec.metric_names import higher_is_better
from nnopt.store.record import RunRecord

if TYPE_CHECKING:
    import pandas

DEFAULT_METRIC = "val_loss"


@dataclass(frozen=True)
class Row:
    """One group of runs; means are over those that neither diverged nor failed, None where there is no value.

    `test_last` and `test_best` are the same metric on test data, with the last and with the best weights, and
    None unless all of these runs have it. `train_seconds` and `samples_per_second` are means over the runs,
    `memory_peak_bytes` is the largest.
    """

    rank: int
    label: str
    experiment: str
    variant: str
    trial: int | None
    spec_hash: str
    seeds: tuple[int, ...]
    statuses: dict[str, int]
    last: Spread | None
    best: Spread | None
    test_last: Spread | None
    test_best: Spread | None
    to_target: TimeToTarget | None
    samples_per_second: float | None
    memory_peak_bytes: int | None
    parameters: int | None
    train_seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """Variants compared by one metric.

    `rows` are ranked by the mean of the last values: first the variants of which no run diverged, then those
    with a diverged run, then those without any value. `groups` are the runs behind them in the same order.
    `differences` is dotted key -> label -> value for the keys in which the specs differ, `notes` are
    sentences on what the numbers do not show.
    """

    metric: str
    higher_is_better: bool
    target: Target | None
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    differences: dict[str, dict[str, Any]]
    notes: tuple[str, ...]

    @property
    def best(self) -> Row | None:
        """The first of the ranking, or None where no variant has a value."""
        return self.rows[0] if self.rows[0].last is not None else None

    @property
    def ranking(self) -> tuple[str, ...]:
        """Labels from best to worst."""
        return tuple(row.label for row in self.rows)

    def frame(self) -> pandas.DataFrame:
        """The rows as in comparison.csv, one a variant, as a pandas table."""
        import pandas

        from nnopt.compare.table import cells

        return pandas.DataFrame([cells(self, row) for row in self.rows])


def compare(records: Sequence[RunRecord], metric: str | None = None, target: float | None = None) -> Comparison:
    """Compare runs, grouped over seeds by the hash of their specs.

    `metric` is a column of metrics.csv, by default the one by which most runs chose their best weights.
    With `target` the time to this value is read off the curves of `metric` (at evaluations: the first row
    that is at least, or where less is better at most, `target`); without it each run's own target counts.

    Raises:
        UsageError: no runs, no column called `metric`, or a target that the metric cannot take.
        RunsFolderError: a metrics.csv that is damaged.
    """
    if not records:
        raise UsageError("there are no runs to compare")
    groups, repeated = group_runs(records)
    kept = [record for group in groups for record in group.records]
    chosen = metric or _usual_metric(kept)
    _check_column(kept, metric)
    higher = higher_is_better(chosen)
    asked = None if target is None else Target(chosen, target)
    if asked is not None:
        check_target(asked, kept)
    rows = [_row(group, chosen, higher, asked) for group in groups]

    def place(index: int) -> tuple[int, float]:
        row = rows[index]
        if row.last is None:
            return 2, 0.0
        return int(row.statuses.get("diverged", 0) > 0), -row.last.mean if higher else row.last.mean

    order = sorted(range(len(rows)), key=place)
    ranked = tuple(replace(rows[index], rank=rank) for rank, index in enumerate(order, 1))
    groups = [groups[index] for index in order]
    differing = differences({group.label: group.records[0].summary.get("spec") or {} for group in groups})
    targets = [row.to_target.target if row.to_target else None for row in ranked]
    return Comparison(
        metric=chosen,
        higher_is_better=higher,
        target=targets[0] if len(set(targets)) == 1 else None,
        rows=ranked,
        groups=tuple(groups),
        differences=differing,
        notes=(
            *repeated,
            *within_spread([(row.label, row.last) for row in ranked]),
            *make_notes(groups, chosen, targets, differing),
        ),
    )


def _usual_metric(records: Sequence[RunRecord]) -> str:
    named = Counter(record.summary.get("select") for record in records)
    del named[None]
    return str(named.most_common(1)[0][0]) if named else DEFAULT_METRIC


def _check_column(records: Sequence[RunRecord], metric: str | None) -> None:
    columns = dict.fromkeys(column for record in records for column in record.curve())
    if metric is not None and columns and metric not in columns:
        raise UsageError(f"no run has a column '{metric}'{nearest(metric, columns)}; there are {', '.join(columns)}")


def _row(group: Group, metric: str, higher: bool, asked: Target | None) -> Row:
    curves = [series(record, metric).values for record in group.results]
    summaries = [record.summary for record in group.results]
    extreme = max if higher else min
    memory = [finite(summary.get("memory_peak_bytes")) for summary in summaries]
    parameters = (record.summary.get("parameters") for record in group.records)
    return Row(
        rank=0,
        label=group.label,
        experiment=group.experiment,
        variant=group.variant,
        trial=group.trial,
        spec_hash=group.spec_hash,
        seeds=tuple(record.seed for record in group.records),
        statuses=dict(Counter(record.status for record in group.records)),
        last=Spread.of(values[-1] for values in curves if values),
        best=Spread.of(extreme(values) for values in curves if values),
        test_last=_test(summaries, "last", metric),
        test_best=_test(summaries, "best", metric),
        to_target=time_to_target(group, asked),
        samples_per_second=mean(finite(summary.get("samples_per_second")) for summary in summaries),
        memory_peak_bytes=max((int(peak) for peak in memory if peak is not None), default=None),
        parameters=next((int(count) for count in parameters if count is not None), None),
        train_seconds=mean(finite((summary.get("seconds") or {}).get("train")) for summary in summaries),
    )


def _test(summaries: Sequence[dict[str, Any]], weights: str, metric: str) -> Spread | None:
    name = metric.removeprefix("val_").removeprefix("train_")
    values = [finite(((summary.get("test") or {}).get(weights) or {}).get(name)) for summary in summaries]
    return None if None in values else Spread.of(values)
