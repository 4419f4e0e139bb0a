"""What came of one group of runs, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnopt.compare.end_rate import end_rate
from nnopt.compare.groups import Group
from nnopt.compare.measures import Measure, best_of, test_of
from nnopt.compare.series import finite
from nnopt.compare.spread import Spread, mean
from nnopt.compare.target import TimeToTarget
from nnopt.spec.metric_names import OF_THE_NETWORK, TRAFFIC


@dataclass(frozen=True)
class Row:
    """One group of runs; means are over those that are done, None where there is no value.

    `last` is the measure compared (the last value, where that is a column of metrics.csv), `best` the best value
    of the same column. `test_last` and `test_best` are the same metric on test data, with the last and with the
    best weights, and None unless all of these runs have it. `to_target` holds Kaplan-Meier medians. `area` is the
    mean level of the column's curve over the steps that all runs compared have, `end_rate` its change per hundred
    steps near the end. `train_seconds`, `samples_per_second` and `energy_joules` are means over the runs,
    `memory_peak_bytes` is the largest; `parallel` is the kind by which several processes trained, and what came of
    that (nnopt.spec.metric_names.TRAFFIC) is a mean. What the network that came out costs
    (nnopt.compare.measures) is a mean as well, `parameters` of any runs where none is done. `rank` is within the
    `task` (the experiment, where several tasks are compared, else None).
    """

    rank: int
    label: str
    experiment: str
    variant: str
    trial: int | None
    spec_hash: str
    task: str | None
    seeds: tuple[int, ...]
    statuses: dict[str, int]
    last: Spread | None
    best: Spread | None
    test_last: Spread | None
    test_best: Spread | None
    to_target: TimeToTarget | None
    area: Spread | None
    end_rate: Spread | None
    samples_per_second: float | None
    memory_peak_bytes: int | None
    parameters: int | None
    train_seconds: float | None
    energy_joules: float | None
    nonzero_parameters: float | None = None
    network_bytes: float | None = None
    multiply_adds: float | None = None
    latency_seconds: float | None = None
    latency_p95_seconds: float | None = None
    batch_latency_seconds: float | None = None
    batch_latency_p95_seconds: float | None = None
    inference_samples_per_second: float | None = None
    parallel: str | None = None
    updates_per_second: float | None = None
    staleness_mean: float | None = None
    staleness_max: float | None = None
    drift: float | None = None


def make_row(
    group: Group,
    measure: Measure,
    to_target: TimeToTarget | None,
    areas: Sequence[float | None],
    task: str | None,
) -> Row:
    """The row of a group; `areas` are those of its runs that are done. Ranks come later."""
    summaries = [record.summary for record in group.results]
    memory = [finite(summary.get("memory_peak_bytes")) for summary in summaries]
    parameters = _mean([record.summary for record in group.results or group.records], "parameters")
    column = measure.column
    return Row(
        rank=0,
        label=group.label,
        experiment=group.experiment,
        variant=group.variant,
        trial=group.trial,
        spec_hash=group.spec_hash,
        task=task,
        seeds=tuple(record.seed for record in group.records),
        statuses=dict(Counter(record.status for record in group.records)),
        last=Spread.of(measure.values(group)),
        best=_of_all(group, best_of(measure), some=True),
        test_last=_of_all(group, test_of(measure, "last")),
        test_best=_of_all(group, test_of(measure, "best")),
        to_target=to_target,
        area=Spread.of(areas),
        end_rate=Spread.of(end_rate(record, column) for record in group.results) if column else None,
        samples_per_second=_mean(summaries, "samples_per_second"),
        memory_peak_bytes=max((int(peak) for peak in memory if peak is not None), default=None),
        parameters=None if parameters is None else round(parameters),
        train_seconds=mean(finite((summary.get("seconds") or {}).get("train")) for summary in summaries),
        energy_joules=_mean(summaries, "energy_joules"),
        **{name: _mean(summaries, name) for name in OF_THE_NETWORK if name != "parameters"},
        parallel=_parallel(group),
        **{name: _mean(summaries, name) for name in TRAFFIC},
    )


def _of_all(group: Group, measure: Measure | None, some: bool = False) -> Spread | None:
    """Over the runs that are done; None unless all of them (or, if said so, some) have the measure."""
    if measure is None:
        return None
    values = measure.values(group)
    return Spread.of(values) if some or len(values) == len(group.results) else None


def _parallel(group: Group) -> str | None:
    """The kind of `parallel`, the same for all runs of a group; None where one process trained."""
    spec = next((record.summary.get("spec") for record in group.records), None) or {}
    kind = (spec.get("parallel") or {}).get("kind")
    return None if kind is None else str(kind)


def _mean(summaries: Sequence[dict[str, Any]], key: str) -> float | None:
    return mean(finite(summary.get(key)) for summary in summaries)
