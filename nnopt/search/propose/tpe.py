"""The sampler `tpe`, with Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from nnopt.compare.search.trial import Trial
from nnopt.quiet import quiet
from nnopt.randomness import derive
from nnopt.search.propose.distributions import as_parameter, distributions, from_parameter
from nnopt.search.propose.losses import cost_losses, losses
from nnopt.search.propose.places import random_places, setting_at
from nnopt.spec.search.domains import Choice, Domain, IntRange, RealDomain, Space
from nnopt.spec.search.samplers import Tpe
from nnopt.spec.search.setting import in_order

if TYPE_CHECKING:
    import optuna


def tpe_setting(
    space: Space, sampler: Tpe, number: int, known: Sequence[Trial], higher_is_better: bool, has_costs: bool = False
) -> dict[str, Any]:
    """A draw from where good trials lie; at random before there are enough of them.

    A study of the known trials is made anew for each proposal, with a seed of its own: an Optuna sampler that lives on
    holds a state which no study stores, and would propose otherwise after an interruption. With `has_costs` good trials
    are those near the Pareto front of value and cost (Ozaki et al. 2020, Multiobjective tree-structured Parzen
    estimator for computationally expensive optimization problems, GECCO).
    """
    told = [trial for trial in known if trial.status != "failed"]
    if len(told) < sampler.startup_trials:
        return setting_at(space, random_places(space, sampler.seed, number))
    import optuna

    results = [losses(told, higher_is_better), *([cost_losses(told)] if has_costs else [])]
    with quiet(("optuna",), {}):
        study = optuna.create_study(
            directions=["minimize"] * len(results),
            sampler=optuna.samplers.TPESampler(
                n_startup_trials=sampler.startup_trials,
                n_ei_candidates=sampler.candidates,
                prior_weight=sampler.prior_weight,
                multivariate=sampler.multivariate,
                group=sampler.multivariate,  # keys with conditions are drawn together with those they go with
                constant_liar=False,
                consider_magic_clip=True,
                consider_endpoints=False,
                seed=derive(sampler.seed, "search/tpe", number) % 2**32,
            ),
        )
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={key: as_parameter(value) for key, value in trial.setting.items()},
                    distributions=distributions(space, trial.setting),
                    values=list(values),
                )
                for trial, *values in zip(told, *results, strict=True)
            ]
        )
        return _drawn(space, study.ask())


def _drawn(space: Space, trial: optuna.Trial) -> dict[str, Any]:
    """A value of each active key."""
    setting: dict[str, Any] = {}
    for key in in_order(space):
        domain = space[key]
        if domain.is_active(setting):
            setting[key] = _value(domain, key, trial)
    return setting


def _value(domain: Domain, key: str, trial: optuna.Trial) -> Any:
    if isinstance(domain, Choice):
        return from_parameter(trial.suggest_categorical(key, [as_parameter(value) for value in domain.choice]))
    if isinstance(domain, IntRange):
        low, high = domain.int
        return trial.suggest_int(key, low, high, log=domain.is_log)
    numbers = cast(RealDomain, domain)
    drawn = trial.suggest_float(key, numbers.low, numbers.high, log=numbers.is_log)
    return numbers.at(numbers.place_of(drawn))  # to as many digits as are written down
