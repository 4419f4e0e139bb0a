"""Variants compared: the numbers and the verdicts that tables, files, pictures and gates show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnopt.compare.area import areas
from nnopt.compare.baseline import baselines
from nnopt.compare.cost import LATENCIES, CostPoint, costs
from nnopt.compare.differences import differences, worth_telling
from nnopt.compare.groups import Group, group_runs
from nnopt.compare.lint.finding import Finding
from nnopt.compare.lint.lint import lint
from nnopt.compare.lint.machines import time_across_machines
from nnopt.compare.measures import Measure, find_measure
from nnopt.compare.notes import exchange_notes, last_steps, make_notes
from nnopt.compare.rows import Row, make_row
from nnopt.compare.screen import readable, unfinished, without_target, without_value
from nnopt.compare.target import Target, TimeToTarget, check_target, time_to_target
from nnopt.compare.tasks.across import AcrossTasks, across_tasks, is_across_tasks
from nnopt.compare.trials import SearchedRuns, search_files, searched_runs, trials_given, without_trials
from nnopt.compare.verdict import Verdict, verdicts
from nnopt.errors import UsageError
from nnopt.spec.metric_names import higher_is_better
from nnopt.store.record import RunRecord

if TYPE_CHECKING:
    import pandas

    from nnopt.compare.search.summary import SearchSummary
    from nnopt.store.search_file import SearchFile

DEFAULT_METRIC = "val_loss"


@dataclass(frozen=True)
class Question:
    """What is asked of runs, all of it optional.

    `metric` is a measure (nnopt.compare.measures), by default the column by which most runs chose their best
    weights. With `target` the time to this value of the metric's column is measured; without it each run's own
    target counts. `baseline` is a label, variant or experiment, by default the first. `interpolate` places the
    moment of reaching between two evaluations on the line between them. `force` ranks times across machines.
    """

    metric: str | None = None
    target: float | None = None
    baseline: str | None = None
    interpolate: bool = False
    force: bool = False


@dataclass(frozen=True)
class Comparison:
    """Variants compared by one measure.

    `rows` are ranked by the mean of the measure, where several tasks are compared within each: first the variants
    of which no run diverged, then those with a diverged run, then those without any value. `groups` are the runs
    behind them in the same order. `baseline` is the label that `verdicts` are against, None where there are
    several (each verdict names its own). `findings` say what is unfair, `left_out` which runs are in no number and
    why. `differences` is dotted key -> label -> value for the keys in which the specs differ, `notes` are
    sentences on what the numbers do not show. `across` sums up several tasks, `costs` sets quality against cost.
    `searched` are the searches whose trials were among the runs.
    """

    measure: Measure
    target: Target | None
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    baseline: str | None
    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]
    differences: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    across: AcrossTasks | None
    costs: tuple[CostPoint, ...]
    searched: tuple[SearchedRuns, ...] = ()

    @cached_property
    def searches(self) -> tuple[SearchSummary, ...]:
        """What each search found; worked out when it is first asked for, as importance takes a second."""
        from nnopt.compare.search.summary import summarise_search

        return tuple(summarise_search(one.file, one.records) for one in self.searched)

    @property
    def metric(self) -> str:
        """The name of the measure."""
        return self.measure.name

    @property
    def column(self) -> str | None:
        """The column of metrics.csv whose curves show the measure."""
        return self.measure.column

    @property
    def higher_is_better(self) -> bool:
        """Of the measure."""
        return self.measure.higher_is_better

    @property
    def best(self) -> Row | None:
        """The first of the ranking, or None where no variant has a value, or several tasks have one each."""
        return self.rows[0] if self.across is None and self.rows[0].last is not None else None

    @property
    def ranking(self) -> tuple[str, ...]:
        """Labels from best to worst (where several tasks are compared, task by task)."""
        return tuple(row.label for row in self.rows)

    def frame(self) -> pandas.DataFrame:
        """The rows as in comparison.csv, one a variant, as a pandas table."""
        import pandas

        from nnopt.compare.tables.table import cells

        return pandas.DataFrame([cells(self, row) for row in self.rows])


def compare(
    records: Sequence[RunRecord],
    metric: str | None = None,
    target: float | None = None,
    baseline: str | None = None,
    interpolate: bool = False,
    force: bool = False,
) -> Comparison:
    """Compare runs, grouped over seeds by the hash of their specs; the arguments are those of `Question`.

    Raises:
        UsageError: no runs, no measure or baseline of that name, a target that the metric cannot take, or a
            measure of time or energy over different machines without `force`.
    """
    return answer(records, Question(metric, target, baseline, interpolate, force))


def answer(
    records: Sequence[RunRecord], question: Question, unread: Sequence[str] = (), named_trials: Collection[Path] = ()
) -> Comparison:
    """As `compare`; `unread` are sentences on runs that could not even be read.

    Trials of an experiment that has other runs are no rows, but for those whose folders are among `named_trials`.
    """
    whole, left_out = readable(records)
    files, damaged = search_files(whole)
    left_out = [*unread, *left_out, *damaged]
    kept, on_trials = without_trials(whole, named_trials, files)
    if not kept:
        raise UsageError("; ".join(["there are no runs to compare", *left_out]))
    groups, repeated = group_runs(kept)
    members = [record for group in groups for record in group.records]
    several = is_across_tasks(groups)
    metric = question.metric if question.metric is not None else _usual_metric(members, several, files.values())
    measure = find_measure(metric, members)
    asked = _target(question, measure, members)
    times = {group.label: time_to_target(group, asked, question.interpolate) for group in groups}
    unfair = time_across_machines(groups, measure.name)
    if unfair and not question.force:
        raise UsageError(f"{unfair.text} {unfair.advice}")
    is_timed_fairly = question.force or time_across_machines(groups, "train_seconds") is None
    unranked = () if question.force else _unranked_costs(groups, is_timed_fairly)

    against = baselines(groups, question.baseline, several)
    judged = verdicts(groups, against, measure, times, () if is_timed_fairly else ("seconds",))
    groups, rows = _ranked(groups, measure, times, several)
    decided = [(one.label, one.baseline) for one in judged if one.answer == "worse"]
    decided += [(one.baseline, one.label) for one in judged if one.answer == "better"]
    specs = {group.label: group.records[0].summary.get("spec") or {} for group in groups}
    imported = [group.label for group in groups if "imported" in group.records[0].summary]
    differing = worth_telling(differences(specs, partial=imported), specs)
    targets = [row.to_target.target if row.to_target else None for row in rows]
    common = targets[0] if len(set(targets)) == 1 else None
    names = {group.label for group in against.values()}
    notes = [*make_notes(groups, measure.column or measure.name, targets, several), *on_trials]
    if not is_timed_fairly:
        notes.append("Seconds and joules of different machines are shown but not ranked; --force ranks them.")
    if not several and len(last_steps(groups, measure.column or measure.name)) > 1:
        notes += exchange_notes(rows, judged, measure)
    return Comparison(
        measure=measure,
        target=common,
        rows=rows,
        groups=tuple(groups),
        baseline=names.pop() if len(names) == 1 else None,
        verdicts=judged,
        findings=(*([unfair] if unfair else []), *lint(groups, measure.name, common, decided, trials_given(files))),
        left_out=(
            *left_out,
            *repeated,
            *unfinished(groups),
            *without_value(groups, measure),
            *without_target(groups, times),
        ),
        differences=differing,
        notes=tuple(notes),
        across=_across(groups, times, measure, against) if several else None,
        costs=costs(rows, measure.higher_is_better, unranked),
        searched=searched_runs(files, whole, named_trials),
    )


def _unranked_costs(groups: Sequence[Group], is_timed_fairly: bool) -> tuple[str, ...]:
    """The costs that were not measured alike for all."""
    timed = () if is_timed_fairly else ("train_seconds", "energy_joules")
    return (*timed, *(cost for cost in LATENCIES if time_across_machines(groups, cost) is not None))


def _usual_metric(records: Sequence[RunRecord], several: bool, files: Collection[SearchFile]) -> str:
    """What most runs chose their best weights by; over several tasks, only where every task has it.

    Winners of a search are compared on test data: validation data chose them.
    """
    if files and not several:
        from nnopt.compare.search.reported import metric_of_winners

        reported = metric_of_winners(files, records)
        if reported is not None:
            return reported
    named = Counter(record.summary.get("select") for record in records)
    del named[None]
    usual = str(named.most_common(1)[0][0]) if named else DEFAULT_METRIC
    without = any(usual not in record.curve() for record in records if record.curve())
    return DEFAULT_METRIC if several and without else usual


def _target(question: Question, measure: Measure, records: Sequence[RunRecord]) -> Target | None:
    if question.target is None:
        return None
    if measure.column is None:
        raise UsageError(f"a target is waited for along a curve, and {measure.name} has none: take another --metric")
    target = Target(measure.column, question.target)
    check_target(target, records)
    return target


def _ranked(
    groups: Sequence[Group], measure: Measure, times: Mapping[str, TimeToTarget | None], several: bool
) -> tuple[list[Group], tuple[Row, ...]]:
    """Groups and rows in the order of the ranking, the rows numbered (within each task)."""
    level = areas(groups, measure.column)[0] if measure.column else {}
    rows = [
        make_row(group, measure, times[group.label], level.get(group.label, ()), group.experiment if several else None)
        for group in groups
    ]
    tasks = list(dict.fromkeys(row.task for row in rows))

    def place(index: int) -> tuple[int, int, float]:
        row = rows[index]
        task = tasks.index(row.task)
        if row.last is None:
            return task, 2, 0.0
        mean = row.last.mean
        return task, int(row.statuses.get("diverged", 0) > 0), -mean if measure.higher_is_better else mean

    order = sorted(range(len(rows)), key=place)
    count: Counter[str | None] = Counter()
    ranked = []
    for index in order:
        count[rows[index].task] += 1
        ranked.append(replace(rows[index], rank=count[rows[index].task]))
    return [groups[index] for index in order], tuple(ranked)


def _across(
    groups: Sequence[Group],
    times: Mapping[str, TimeToTarget | None],
    measure: Measure,
    against: Mapping[str, Group],
) -> AcrossTasks:
    variant = next((group.variant for group in against.values()), groups[0].variant)
    column = measure.column or measure.name
    return across_tasks(groups, times, column, higher_is_better(column), variant)
