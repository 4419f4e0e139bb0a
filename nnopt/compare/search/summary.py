"""What the search of an experiment found, variant by variant."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nnopt.compare.measures import Measure, column_measure, find_measure, test_of
from nnopt.compare.screen import readable
from nnopt.compare.search.edges import Edge, ends_of_choices, find_edges
from nnopt.compare.search.expected import ExpectedBest, expected_best
from nnopt.compare.search.front import front_of
from nnopt.compare.search.importance import Importance, importance
from nnopt.compare.search.sensitivity import RATES, Sensitivity, sensitivity
from nnopt.compare.search.trial import Trial
from nnopt.compare.search.trials import trials_of
from nnopt.compare.statistics import student
from nnopt.compare.statistics.difference import Interval
from nnopt.compare.statistics.proportion import success_rate
from nnopt.compare.text import listed
from nnopt.spec.search.domains import Domain, NumberDomain
from nnopt.spec.search.limits import limits_in_words, size_in_words
from nnopt.spec.search.samplers import SAMPLERS, SamplerSpec
from nnopt.store.record import RunRecord
from nnopt.store.search_file import SearchedVariant, SearchFile, Winner


@dataclass(frozen=True)
class Share:
    """`count` of `of` trials, with the exact interval of the rate (Clopper & Pearson 1934)."""

    count: int
    of: int
    interval: Interval


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval (Student's t; None for a single seed). `lost` seeds more diverged."""

    name: str
    mean: float
    interval: Interval | None
    n: int
    lost: int = 0


@dataclass(frozen=True)
class Member:
    """A trial on a Pareto front. `name` is what it was confirmed as, None where it was not, or is not yet.

    `estimates` are over the runs that confirm it, as those of a variant are.
    """

    trial: Trial
    name: str | None
    confirmed: tuple[RunRecord, ...]
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True)
class VariantSearch:
    """What was searched for one variant, and what came of it.

    `planned` trials were to be tried, `trials` are those that have a folder, by number. `counts` is status -> trials.
    `best` is the trial of the best value (of equal ones the first), None where none is done. `diverged` is their share
    of the trials that came to an end by themselves. `confirmed` are the runs of the best setting on fresh seeds, and
    `estimates` what they came to: the objective, and its metric on test data. Without them `estimates` has the
    objective over the best trial's own seeds, which chose it: that is too good.

    With two objectives `front` has what nothing else beats in both, from the cheapest on, and `best` is its last.
    """

    variant: str
    planned: int
    higher_is_better: bool
    space: Mapping[str, Domain]
    trials: tuple[Trial, ...]
    best: Trial | None
    counts: Mapping[str, int]
    diverged: Share
    edges: tuple[Edge, ...]
    sensitivity: Sensitivity | None
    expected_best: ExpectedBest | None
    confirmed: tuple[RunRecord, ...]
    estimates: tuple[Estimate, ...]
    warnings: tuple[str, ...]
    front: tuple[Member, ...] = ()

    @property
    def is_confirmed(self) -> bool:
        """Whether `estimates` are from seeds that no trial used."""
        return bool(self.confirmed)

    @property
    def seconds(self) -> float:
        """Training seconds of all trials."""
        return math.fsum(trial.train_seconds for trial in self.trials)

    @cached_property
    def importance(self) -> Importance:
        """Which keys made the difference; worked out when it is asked for, as it takes a moment."""
        return importance(self.trials, self.space, self.higher_is_better)


@dataclass(frozen=True)
class SearchSummary:
    """The search of an experiment: by which `metric` it was judged, how (`search`, as in search.json), what it found.

    `variants` are in the order of their file. `against` is the second objective, of which less is better, None where
    there is one alone; `limits` is what a network may take at most, by quantity.
    """

    experiment: str
    metric: str
    higher_is_better: bool
    search: dict[str, Any]
    variants: tuple[VariantSearch, ...]
    notes: tuple[str, ...] = ()
    against: str | None = None
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def is_confirmed(self) -> bool:
        """Whether every variant's best was trained again on fresh seeds."""
        return all(variant.is_confirmed for variant in self.variants)

    @property
    def learns(self) -> bool:
        """Whether later trials were proposed from what earlier ones came to."""
        sampler = SAMPLERS.named().get(str((self.search.get("sampler") or {}).get("kind")))
        return sampler is not None and issubclass(sampler, SamplerSpec) and sampler.learns

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all variants, as sentences."""
        return tuple(text for variant in self.variants for text in variant.warnings)


def summarise_search(file: SearchFile, records: Sequence[RunRecord]) -> SearchSummary:
    """From search.json and the runs of that experiment: trials and confirmed ones.

    Raises:
        UsageError: no run has the metric that the search was judged by.
    """
    kept, left_out = readable(records)
    trials = trials_of(kept, file)
    named = sorted(file.variants.items(), key=lambda item: item[1].order)
    variants = tuple(
        _of_variant(file, name, searched, trials.get(name, ()), _records_of(name, file, kept))
        for name, searched in named
    )
    found = SearchSummary(
        file.experiment,
        file.metric,
        file.higher_is_better,
        file.search,
        variants,
        against=file.against,
        limits=file.limits,
    )
    return replace(found, notes=(*left_out, *_notes(file, found)))


def best_trial(trials: Sequence[Trial], higher_is_better: bool) -> Trial | None:
    """The trial of the best value, of equal ones the first; None where none is done."""
    sign = 1.0 if higher_is_better else -1.0
    done = [(sign * trial.value, -trial.number, trial) for trial in trials if trial.value is not None]
    return max(done, key=lambda one: one[:2])[2] if done else None


def _records_of(name: str, file: SearchFile, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs of a variant, and those that confirm members of its front."""
    names = {name, *file.confirmed_as(name)}
    return [record for record in records if record.variant in names]


def best_of(trials: Sequence[Trial], file: SearchFile) -> Trial | None:
    """The trial of the best value; with two objectives of equal ones the cheapest."""
    if file.against is None:
        return best_trial(trials, file.higher_is_better)
    return next(iter(front_of(trials, file.higher_is_better)[::-1]), None)


def _of_variant(
    file: SearchFile, name: str, searched: SearchedVariant, trials: tuple[Trial, ...], records: Sequence[RunRecord]
) -> VariantSearch:
    best = best_of(trials, file)
    front = _front(name, file, trials, records) if file.against else ()
    space = searched.space
    counts: Counter[str] = Counter(trial.status for trial in trials)
    ended = counts["done"] + counts["diverged"] + counts["pruned"]
    confirmed = front[-1].confirmed if front else _confirmed(file, searched.winner, best, records)
    edges = (
        find_edges(best, space, _settings(searched, best, records), trials if len(space) == 1 else ()) if best else ()
    )
    tried_again = {trial.again for trial in trials}
    counted = [trial for trial in trials if trial.is_finished and trial.number not in tried_again]
    trained = [trial for trial in counted if trial.status != "over"]
    rate = next((key for key in RATES if isinstance(space.get(key), NumberDomain)), None)
    return VariantSearch(
        variant=name,
        planned=searched.trials,
        higher_is_better=file.higher_is_better,
        space=space,
        trials=trials,
        best=best,
        counts=dict(counts),
        diverged=Share(counts["diverged"], ended, success_rate(counts["diverged"], ended)),
        edges=edges,
        sensitivity=sensitivity(trials, rate, len(space) == 1, file.higher_is_better) if rate else None,
        expected_best=expected_best(
            [trial.value for trial in trained],
            math.fsum(trial.train_seconds for trial in trained),
            file.higher_is_better,
        ),
        confirmed=confirmed,
        estimates=_estimates(file.metric, best, confirmed),
        warnings=tuple(_warnings(name, file, counted, best, edges, _runs_by_label(name, front, confirmed))),
        front=front,
    )


def _runs_by_label(
    name: str, front: Sequence[Member], confirmed: Sequence[RunRecord]
) -> dict[str, Sequence[RunRecord]]:
    """The runs on fresh seeds by whose they are, for sentences."""
    if not front:
        return {f"the best setting of {name}": confirmed}
    return {one.name: one.confirmed for one in front if one.name is not None}


def _front(name: str, file: SearchFile, trials: Sequence[Trial], records: Sequence[RunRecord]) -> tuple[Member, ...]:
    """The members of a variant's front with the runs that confirm them."""
    labels = {winner.trial: label for label, winner in file.confirmed_as(name).items()}
    winners = {winner.trial: winner for winner in file.variants[name].front}
    found = []
    for trial in front_of(trials, file.higher_is_better):
        label = labels.get(trial.number)
        runs = _confirmed(file, winners.get(trial.number), trial, [one for one in records if one.variant == label])
        found.append(Member(trial, label, runs, _estimates(file.metric, trial, runs)))
    return tuple(found)


def _confirmed(
    file: SearchFile, winner: Winner | None, best: Trial | None, records: Sequence[RunRecord]
) -> tuple[RunRecord, ...]:
    """The runs of the present best on the fresh seeds, by seed."""
    if winner is None or best is None or winner.trial != best.number:
        return ()
    found = {
        record.seed: record
        for record in records
        if record.trial is None and record.spec_hash == winner.spec_hash and record.status in ("done", "diverged")
    }
    return tuple(found[seed] for seed in sorted(found) if seed in file.confirm_seeds)


def _settings(searched: SearchedVariant, best: Trial, records: Sequence[RunRecord]) -> Mapping[str, Any]:
    """The resolved keys of the best trial, as far as its run's summary tells them."""
    specs = (record.summary.get("spec") for record in records if record.trial == best.number)
    return next((spec for spec in specs if spec), searched.settings)


def _estimates(metric: str, best: Trial | None, confirmed: Sequence[RunRecord]) -> tuple[Estimate, ...]:
    if not confirmed:
        return (_estimate(metric, list(best.values.values()), 0),) if best else ()
    measure = find_measure(metric, confirmed)
    measures = [one for one in (measure, _on_test(measure)) if one is not None]
    lost = sum(record.status == "diverged" for record in confirmed)
    done = [record for record in confirmed if record.status == "done"]
    found = []
    for one in measures:
        values = [value for record in done if (value := one.read(record)) is not None]
        if values and len(values) == len(done):
            found.append(_estimate(one.name, values, lost))
    return tuple(found)


def _on_test(measure: Measure) -> Measure | None:
    """The objective's metric on test data: with the best weights where the objective is the best value."""
    if measure.column is None or measure.name == measure.column:
        return test_of(measure, "last")
    found = test_of(column_measure(measure.column), "best")
    return found and Measure(f"test_best_{found.name.removeprefix('test_')}", *list(vars(found).values())[1:])


def _estimate(name: str, values: Sequence[float], lost: int) -> Estimate:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(name, mean, None, len(values), lost)
    error = statistics.stdev(values) / math.sqrt(len(values))
    low, high = student.Estimate(mean, error, len(values) - 1).interval()
    return Estimate(name, mean, Interval(low, high), len(values), lost)


def _warnings(
    name: str,
    file: SearchFile,
    ended: Sequence[Trial],
    best: Trial | None,
    edges: Sequence[Edge],
    confirmed: Mapping[str, Sequence[RunRecord]],
) -> list[str]:
    """Sentences on what may mislead."""
    searched = file.variants[name]
    said = [edge.sentence(name) for edge in edges]
    if best is not None:
        said += ends_of_choices(best, searched.space, name)
    if best is None and any(trial.status == "done" for trial in ended):
        said.append(f"no trial of {name} has a value of {file.metric}: judge by another objective.metric")
    elif best is None and ended and all(trial.status == "over" for trial in ended):
        said.append(_none_within(name, ended, file.limits))
    elif best is None and ended:
        said.append(f"no trial of {name} came to a value: search elsewhere, as with lower learning rates")
    if 0 < len(ended) < searched.trials:
        said.append(f"{len(ended)} of {searched.trials} trials of {name} have ended: its best may not be the last word")
    for label, runs in confirmed.items():
        if 0 < len(runs) < len(file.confirm_seeds):
            said.append(f"{label} was trained on {len(runs)} of {len(file.confirm_seeds)} fresh seeds")
        lost = sum(record.status == "diverged" for record in runs)
        if lost:
            said.append(f"{label} diverged on {lost} of {len(runs)} fresh seeds")
    return said


def _none_within(name: str, over: Sequence[Trial], limits: Mapping[str, float]) -> str:
    """That all trials are beyond the limits, with the least that one takes of each quantity."""
    least = {what: min(trial.sizes[what] for trial in over if what in trial.sizes) for what in limits}
    smallest = ", ".join(f"{what} {size_in_words(size)}" for what, size in least.items())
    return (
        f"none of the {len(over)} settings tried for {name} is within the limits ({limits_in_words(limits)}; the least "
        f"tried: {smallest}): search smaller networks, or allow more"
    )


def _notes(file: SearchFile, summary: SearchSummary) -> list[str]:
    """What the numbers do not show."""
    said = []
    variants = summary.variants
    alone = [one.variant for one in variants if one.best is not None and not one.is_confirmed]
    if alone:
        said.append(
            f"The best of {listed(alone)} was chosen by the very runs that its value is from: on fresh seeds it tends "
            "to be worse."
        )
    if summary.learns:
        said.append(
            "The sampler learned from earlier trials: what n of its trials find is the best so far, and not the "
            "expected best of n draws."
        )
    if any(len(one.rounds) > 1 for one in file.variants.values()):
        said.append("The search was extended: the expected best takes the trials of all its rounds as drawn alike.")
    over = sum(one.counts.get("over", 0) for one in variants)
    if over:
        total = sum(len(one.trials) for one in variants)
        said.append(f"{over} of {total} trials not trained: allowed were {limits_in_words(summary.limits)}.")
    without = sum(one.expected_best.without for one in variants if one.expected_best)
    if without:
        said.append(
            f"{without} trial{'s' if without > 1 else ''} without a value (diverged, pruned, failed) "
            f"count{'' if without > 1 else 's'} as the worst of the others in the expected best."
        )
    return said
