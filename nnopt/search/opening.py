"""Where a search stands: what an experiment asks for, beside what its folder says was searched before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nnopt.compare.differences import differences
from nnopt.errors import UsageError
from nnopt.spec.experiment import ExperimentSpec, RunSettings
from nnopt.spec.identity import differing, resolved
from nnopt.spec.search.grid import trials_of
from nnopt.spec.search.objective import objective_of
from nnopt.spec.search.search import SearchSpec
from nnopt.store.search_file import Round, SearchedVariant, SearchFile, space_to_plain

MORE_IS_FINE = ("space", "trials", "confirm")  # told apart by themselves, or free to change
SHOWN = 5


def search_of(experiment: ExperimentSpec) -> SearchSpec:
    """What the variants of an experiment have in common of their search.

    Raises:
        UsageError: it has none.
    """
    if experiment.search is None:
        raise UsageError(
            f"{experiment.name} has no key `search`: say which values to search, such as "
            "search: {space: {optimizer.lr: {log: [1.0e-4, 1]}}}; `nnopt parts search` has the rest"
        )
    return experiment.search


def asked_for(experiment: ExperimentSpec) -> SearchFile:
    """The search that an experiment describes, before anything is done."""
    search = search_of(experiment)
    metric, higher = objective_of(next(iter(experiment.variants.values())))
    trials = trials_of(experiment)
    variants = {
        name: SearchedVariant(order, (Round(0, trials, dict(_space(settings))),), differing(settings))
        for order, (name, settings) in enumerate(experiment.variants.items())
    }
    common = {key: value for key, value in resolved(search).items() if key not in MORE_IS_FINE}
    return SearchFile(experiment.name, metric, higher, search.trial_seeds, search.confirm_seeds, common, variants)


def gone_on_from(before: SearchFile, asked: SearchFile) -> SearchFile:
    """The search that goes on from what was searched before: more trials, other fresh seeds, new variants.

    A variant that was not there while the others were extended gets as many more trials, in its own space; but a grid
    is complete.

    Raises:
        UsageError: the spec has changed in a way that makes it another search; it names the keys.
    """
    changed = changed_keys(before, asked)
    if changed:
        shown = ", ".join(changed[:SHOWN]) + (f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else "")
        raise UsageError(
            f"the spec has changed since the search of {asked.experiment} began ({shown}): undo that, give the "
            "experiment another name, or take --fresh, which sets the old search aside and begins again"
        )
    variants = dict(before.variants)
    for name, wanted in asked.variants.items():
        old = before.variants.get(name)
        if old is None:
            variants[name] = wanted
        else:
            rounds = (replace(old.rounds[0], trials=wanted.rounds[0].trials), *old.rounds[1:])
            variants[name] = replace(old, rounds=rounds, order=wanted.order)
        if asked.search["sampler"]["kind"] != "grid":
            variants[name] = _caught_up(variants[name], before)
    return replace(asked, variants=variants, is_extending=before.is_extending)


def changed_keys(before: SearchFile, asked: SearchFile) -> list[str]:
    """The dotted keys in which a search differs from the one that was begun, each with both values."""
    found: list[str] = []
    for name, now in asked.variants.items():
        old = before.variants.get(name)
        if old is None:
            continue
        searched = now.rounds[0].space.keys() | old.rounds[0].space.keys()
        told = differences({"before": old.settings, "now": now.settings})
        found += [
            _told(key, values, "its default")
            for key, values in told.items()
            if not any(_lies_in(key, other) for other in searched)
        ]
        spaces = {"before": space_to_plain(old.rounds[0].space), "now": space_to_plain(now.rounds[0].space)}
        found += [_told(f"search.space.{key}", values) for key, values in differences(spaces).items()]
        fewer = now.rounds[0].trials < old.rounds[0].trials
        if fewer or (len(old.rounds) > 1 and now.rounds[0].trials != old.rounds[0].trials):
            found.append(f"search.trials: {old.rounds[0].trials}, now {now.rounds[0].trials}")
    common = differences(
        {
            "before": {**before.search, "metric": before.metric, "higher_is_better": before.higher_is_better},
            "now": {**asked.search, "metric": asked.metric, "higher_is_better": asked.higher_is_better},
        }
    )
    found += [_told(f"search.{key}", values) for key, values in common.items()]
    return list(dict.fromkeys(found))


def _caught_up(variant: SearchedVariant, before: SearchFile) -> SearchedVariant:
    """The variant with a round for each extension that it missed."""
    others = max((one.rounds for one in before.variants.values()), key=len)
    rounds = [*variant.rounds]
    for missed in others[len(rounds) :]:
        rounds.append(Round(rounds[-1].first + rounds[-1].trials, missed.trials, variant.space))
    return replace(variant, rounds=tuple(rounds))


def _space(settings: RunSettings) -> dict[str, Any]:
    assert settings.search is not None
    return settings.search.space


def _lies_in(key: str, searched: str) -> bool:
    """Whether a key is a searched one, or below one, or of a part whose kind is searched."""
    above = searched.removesuffix(".kind")
    return key == searched or key.startswith(f"{searched}.") or (above != searched and key.startswith(f"{above}."))


def _told(key: str, values: dict[str, Any], absent: str = "not there") -> str:
    before, now = (_shown(values.get(when, absent)) for when in ("before", "now"))
    return f"{key}: {before}, now {now}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
