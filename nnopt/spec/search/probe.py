"""Settings that a search may come to, tried out: whether the keys exist and take the values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from nnopt.spec.experiment import RunSettings
from nnopt.spec.messages import in_words
from nnopt.spec.search.domains import RealDomain, Setting, Space
from nnopt.spec.search.grid import combinations, deciding_keys, grid_settings, grid_size
from nnopt.spec.search.samplers import Grid
from nnopt.spec.search.search import SearchSpec
from nnopt.spec.search.setting import active_keys, in_short, lay

MAX_PROBES = 3000  # a fourth of a millisecond each


@dataclass
class _Refusals:
    """One mistake of one key, with the choices of other keys beside which it occurs."""

    unknown: bool
    beside: list[Setting] = field(default_factory=list)


def probe(settings: RunSettings, search: SearchSpec) -> Iterator[tuple[str, str]]:
    """Keys that are refused somewhere in the space, each with what is wrong.

    Tried are, beside every combination of the choices that decide on other keys: the middle of all, each key at its
    ends or at each of its choices, all at the lower and all at the upper end; of a grid every point. Of very many
    the first few thousand.
    """
    deciding = deciding_keys(search.space)
    found: dict[tuple[str, str], _Refusals] = {}
    tried: dict[str, list[Setting]] = {}
    for varied, setting in itertools.islice(_settings(search), MAX_PROBES):
        beside = {key: setting[key] for key in deciding if key in setting}
        for key in setting:
            if beside not in tried.setdefault(key, []):
                tried[key].append(beside)
        try:
            lay(settings, setting)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                key, message = _blame(item, setting, varied, search.space)
                refusals = found.setdefault((key, message), _Refusals(item["type"] == "unknown_key"))
                if beside not in refusals.beside:
                    refusals.beside.append(beside)
    by_kind: set[str] = set()
    for (key, message), refusals in found.items():
        always = len(refusals.beside) == len(tried.get(key, []))
        if refusals.unknown and not always:
            if key not in by_kind:
                by_kind.add(key)
                yield key, _needs_condition(key, [one for k, one in found.items() if k[0] == key], tried[key])
        elif refusals.unknown:
            yield key, _of_another(message)
        else:
            where = {name: value for name, value in refusals.beside[0].items() if name != key}
            yield key, message if always or not where else f"{message} (with {in_short(where)})"


def _of_another(message: str) -> str:
    """What is said of a key that the variant does not have at all."""
    own = "; a variant that is searched over other keys has a `search.space` of its own"
    return message if "did you mean" in message else message + own


def run_settings(settings: RunSettings, search: SearchSpec) -> Iterator[RunSettings]:
    """The settings of all probes that are not refused: as many as have budgets of their own."""
    if not any(key.partition(".")[0] == "budget" for key in search.space):
        yield settings
        return
    for _, setting in itertools.islice(_settings(search), MAX_PROBES):
        try:
            yield lay(settings, setting)
        except ValidationError:
            continue


def _settings(search: SearchSpec) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Settings to try, each with the one key that stands away from the middle, if it is one."""
    space = search.space
    for beside in combinations(space, deciding_keys(space)):
        active = active_keys(space, {**{key: domain.middle() for key, domain in space.items()}, **beside})
        middle = {key: beside.get(key, space[key].middle()) for key in active}
        yield None, middle
        free = [key for key in active if key not in beside]
        for key in free:
            yield from ((key, {**middle, key: value}) for value in space[key].probes())
        for end in (0, -1):
            yield None, {**middle, **{key: space[key].probes()[end] for key in free}}
    if isinstance(search.sampler, Grid) and grid_size(space) <= MAX_PROBES:
        yield from ((None, setting) for setting in grid_settings(space))


def _blame(item: Mapping[str, Any], setting: Setting, varied: str | None, space: Space) -> tuple[str, str]:
    """The searched key to tell of one entry of `ValidationError.errors()`, and what to say."""
    path = ".".join(map(str, (*item["loc"], *item.get("ctx", {}).get("path", ()))))
    message = in_words(item)
    within = [key for key in setting if path == key or path.startswith(f"{key}.")]
    if within:
        key = max(within, key=len)
        domain = space[key]
        if isinstance(domain, RealDomain) and "whole number" in message and "share" not in message:
            ends, log = f"[{max(1, round(domain.low))}, {round(domain.high)}]", ", log: true" if domain.is_log else ""
            return key, f"takes whole numbers: write {{int: {ends}{log}}}"
        return key, message if path == key else f"{path}: {message}"
    kind = f"{path}.kind"
    if item["type"] == "kind" and kind in setting:
        return kind, message
    kind = f"{path.rpartition('.')[0]}.kind"
    if item["type"] == "missing" and kind in setting:
        return kind, f"with {setting[kind]}, {path} is missing: search it too, or give it in the spec"
    below = [key for key in setting if not path or key.startswith(f"{path}.")]
    key = varied or next(iter(below or setting))
    place = key.removeprefix(f"{path}.")
    if item["type"] == "tuple_type" and place.isdecimal():
        return key, f"{path} has no entry {place} in the spec (they count from 0)"
    return key, f"{path}: {message}" if path else message


def _needs_condition(key: str, refusals: list[_Refusals], tried: list[Setting]) -> str:
    """What to write for a key that only some of the searched kinds have."""
    refused = [one for refusal in refusals if refusal.unknown for one in refusal.beside]
    fine = [one for one in tried if one not in refused]
    for other in fine[0]:
        good = list(dict.fromkeys(str(one[other]) for one in fine if other in one))
        bad = list(dict.fromkeys(str(one[other]) for one in refused if other in one))
        if not set(good) & set(bad):
            return f"is no key of {', '.join(bad)}; write `when: {{{other}: [{', '.join(good)}]}}` beside its values"
    return "is no key beside some of the searched choices; say by `when` beside which it is one"
