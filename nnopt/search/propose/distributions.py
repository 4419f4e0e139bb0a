"""Searched keys as Optuna holds them: distributions, and values of parameters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nnopt.spec.search.domains import Choice, Domain, IntRange, NumberDomain, Setting, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# What Optuna can store as one of several choices.
Parameter: TypeAlias = str | int | float | bool | None

# JSON of a list, of a mapping, of a text: how an encoded value begins.
_ENCODED = ("[", "{", '"')


def distributions(space: Space, setting: Setting) -> dict[str, BaseDistribution]:
    """The distribution of each key of `setting`: those that were active in the trial.

    Raises:
        KeyError: the setting has a key that is not searched.
    """
    return {key: distribution(space[key]) for key in setting}


def distribution(domain: Domain) -> BaseDistribution:
    """What Optuna calls the domain of a key."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choice):
        return CategoricalDistribution([as_parameter(value) for value in domain.choice])
    if isinstance(domain, IntRange):
        low, high = domain.int
        return IntDistribution(low, high, log=domain.is_log)
    numbers = cast(NumberDomain, domain)
    return FloatDistribution(numbers.low, numbers.high, log=numbers.is_log)


def as_parameter(value: Any) -> Parameter:
    """A value of a setting as Optuna can store it: lists, mappings, and texts that look like one become JSON."""
    if isinstance(value, tuple | list | dict) or (isinstance(value, str) and value.startswith(_ENCODED)):
        return json.dumps(value)
    return cast(Parameter, value)


def from_parameter(parameter: Parameter) -> Any:
    """The value that `as_parameter` was given (a tuple comes back as a list)."""
    if isinstance(parameter, str) and parameter.startswith(_ENCODED):
        return json.loads(parameter)
    return parameter
