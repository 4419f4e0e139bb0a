"""A search in plain words, for people who check their spec."""

from __future__ import annotations

from nnopt.spec.base import show
from nnopt.spec.experiment import ExperimentSpec
from nnopt.spec.search.domains import Choice, Domain, NumberDomain
from nnopt.spec.search.grid import trials_of
from nnopt.spec.search.limits import limits_in_words
from nnopt.spec.search.objective import objective_of


def search_in_words(spec: ExperimentSpec) -> list[str]:
    """What `nnopt sweep` would do: how many trials and runs, by what they are judged, and what each variant searches.

    No lines for a spec without a search.
    """
    search = spec.search
    if search is None:
        return []
    trials, variants, seeds = trials_of(spec), len(spec.variants), len(search.trial_seeds)
    settings = next(iter(spec.variants.values()))
    metric, higher = objective_of(settings)
    runs = trials * variants * seeds
    whole = (
        f"search: {_count(trials, 'trial')} a variant ({search.sampler.kind}), {_count(seeds, 'seed')} each: "
        f"{_count(runs, 'run')} of {_count(variants, 'variant')}; judged by {metric}, "
        f"{'more' if higher else 'less'} is better"
    )
    if search.objective.against:
        whole += f", against {search.objective.against}, of which less is better"
    if search.limits.given:
        whole += f"; only networks with {limits_in_words(search.limits.given)} are trained"
    if search.prune is not None:
        whole += f"; cut short by {search.prune.kind}"
    if search.confirm_seeds:
        fresh = ", ".join(map(str, search.confirm_seeds))
        most = search.confirm.at_most if search.confirm else 0
        which = f"up to {most} of each variant's front" if search.objective.against else "the best of each variant"
        whole += f"; then {which} on seed{'s' if len(search.confirm_seeds) > 1 else ''} {fresh}"
    lines = [whole]
    width = max(map(len, spec.variants))
    for name, settings in spec.variants.items():
        if settings.search is not None:
            keys = [f"{key} {domain_in_words(domain)}" for key, domain in settings.search.space.items()]
            lines.append(f"  {name:<{width}} {'; '.join(keys)}")
    return lines


def domain_in_words(domain: Domain) -> str:
    """`0.0001 to 1 by factors`, `16, 32 or 64 where optimizer.kind is adam`."""
    if isinstance(domain, NumberDomain):
        words = f"{domain.low:g} to {domain.high:g}{' by factors' if domain.is_log else ''}"
    else:
        assert isinstance(domain, Choice)
        words = _one_of(domain.choice)
    conditions = [f"{key} is {_one_of(values)}" for key, values in domain.when.items()]
    return f"{words} where {' and '.join(conditions)}" if conditions else words


def _one_of(values: tuple[object, ...]) -> str:
    *some, last = (_plain(value) for value in values)
    return f"{', '.join(some)} or {last}" if some else last


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return value if isinstance(value, str) else show(value)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
