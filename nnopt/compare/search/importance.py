"""Which keys made the difference between trials: functional analysis of variance.

Hutter, Hoos and Leyton-Brown 2014, An efficient approach for assessing hyperparameter importance, ICML: a forest of
random trees learns the objective over the space; a key's importance is the share of the forest's variance that this
key alone explains. The forests are Optuna's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnopt.compare.search.trial import Trial
from nnopt.compare.text import listed
from nnopt.quiet import quiet
from nnopt.spec.search.domains import Choice, Domain, NumberDomain

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 10  # trials
MOST = 500  # what forests take grows with the square of the trials
FORESTS = 4
TREES = 8  # in each
Where = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class KeyImportance:
    """A key's share of the variance: the mean over forests of different seeds, and their lowest and highest.

    `where` says of which trials this is told, as `optimizer.kind is adam`; empty for all.
    """

    key: str
    share: float
    low: float
    high: float
    where: str = ""


@dataclass(frozen=True)
class Importance:
    """The keys from the most important on, and sentences on what they are not told of or from."""

    keys: tuple[KeyImportance, ...]
    notes: tuple[str, ...]


def importance(trials: Sequence[Trial], space: Mapping[str, Domain], higher_is_better: bool) -> Importance:
    """Over the trials that are done or diverged, which counts as the worst value of those that are done.

    Keys that were searched only beside some values of others are held against each other among the trials which have
    them. There is none for fewer than ten trials, or fewer than two keys. The same trials give the same numbers.
    """
    if len(space) < 2:
        return Importance((), (f"only {next(iter(space))} was searched: it alone explains what differs",))
    known = [trial for trial in trials if trial.status == "diverged" or trial.value is not None]
    every = -(-len(known) // MOST) or 1
    values = [trial.value for trial in known if trial.value is not None]
    notes = []
    pruned = sum(trial.status == "pruned" for trial in trials)
    if pruned:
        notes.append(f"{pruned} of {len(trials)} trials were pruned: importance is told of the others alone")
    if not values or len(known) < FEWEST:
        few = f"{len(known)} trials are too few to tell which key matters: it takes {FEWEST}"
        return Importance((), (few, *notes))
    if every > 1:
        known = known[::every]
        notes.append(f"importance is told of one in {every} trials, {len(known)}")
    worst = min(values) if higher_is_better else max(values)
    results = [worst if trial.value is None else trial.value for trial in known]
    found: list[KeyImportance] = []
    for where in _parts(known, space):
        chosen = [index for index, trial in enumerate(known) if _is_there(trial, where)]
        keys = [key for key in space if all(key in known[index].setting for index in chosen)]
        words = " and ".join(f"{key} is {value}" for key, value in where)
        if len(chosen) < FEWEST:
            notes.append(f"{len(chosen)} trials with {words} are too few to tell which of its keys matters")
            continue
        some = [results[index] for index in chosen]
        if max(some) == min(some):
            notes.append(f"all trials{f' with {words}' if words else ''} came to the same value: no key matters")
            continue
        domains = {key: space[key] for key in keys}
        found += _shares([known[index].setting for index in chosen], domains, some, words)
    conditional = [key for key, domain in space.items() if domain.when]
    if conditional:
        notes.append(f"{listed(conditional)} {'is' if len(conditional) == 1 else 'are'} not in every trial")
    return Importance(tuple(found), tuple(notes))


def _parts(trials: Sequence[Trial], space: Mapping[str, Domain]) -> list[Where]:
    """The sets of trials that are looked at: all, and those alike in the keys that others depend on."""
    deciding = list(dict.fromkeys(key for domain in space.values() for key in domain.when))
    parts: dict[str, Where] = {}
    for trial in trials:
        where = tuple((key, trial.setting[key]) for key in deciding if key in trial.setting)
        parts.setdefault(repr(where), where)
    more = [parts[name] for name in sorted(parts) if parts[name]]
    return [(), *(where for where in more if any(domain.when for domain in space.values()))]


def _is_there(trial: Trial, where: Where) -> bool:
    return all(key in trial.setting and trial.setting[key] == value for key, value in where)


def _shares(
    settings: Sequence[Mapping[str, Any]], space: Mapping[str, Domain], results: Sequence[float], where: str
) -> list[KeyImportance]:
    """The keys' importances, the greatest first; none for fewer than two keys that differ."""
    places = {key: [_place(domain, setting[key]) for setting in settings] for key, domain in space.items()}
    differing = [key for key, values in places.items() if len(set(values)) > 1]
    if len(differing) < 2:
        return []
    shares = _forests({key: places[key] for key in differing}, {key: space[key] for key in differing}, results)
    found = [
        KeyImportance(key, math.fsum(some) / len(some), min(some), max(some), where) for key, some in shares.items()
    ]
    return sorted(found, key=lambda one: -one.share)


def _place(domain: Domain, value: Any) -> float | int:
    """Where a value lies: in [0, 1] for a number, else its place among the choices."""
    if isinstance(domain, NumberDomain):
        return domain.place_of(value)
    assert isinstance(domain, Choice)
    return next(index for index, one in enumerate(domain.choice) if _plain(one) == _plain(value))


def _plain(value: Any) -> Any:
    """Lists and tuples alike."""
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _forests(
    places: Mapping[str, Sequence[float | int]], space: Mapping[str, Domain], results: Sequence[float]
) -> dict[str, list[float]]:
    """Key -> its share in each forest."""
    from optuna import create_study
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.trial import create_trial

    with quiet(("optuna",), {}):
        kinds: dict[str, BaseDistribution] = {
            key: CategoricalDistribution(range(len(domain.choice)))
            if isinstance(domain, Choice)
            else FloatDistribution(min(0.0, *places[key]), max(1.0, *places[key]))
            for key, domain in space.items()
        }
        study = create_study()
        study.add_trials(
            create_trial(params={key: places[key][index] for key in space}, distributions=kinds, value=value)
            for index, value in enumerate(results)
        )
        shares: dict[str, list[float]] = {key: [] for key in space}
        for seed in range(FORESTS):
            told = FanovaImportanceEvaluator(n_trees=TREES, seed=seed).evaluate(study)
            for key in space:
                shares[key].append(float(told[key]))
    return shares
