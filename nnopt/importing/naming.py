"""Which variant and which seed a run of another tool is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nnopt.errors import UsageError
from nnopt.importing.source import Plain, SourceRun
from nnopt.spec.experiment import NAME, RESERVED
from nnopt.spec.nearest import nearest

SEED_KEYS = ("seed", "random_seed", "manual_seed", "global_seed", "random_state")
LONGEST = 80  # of a name: a suffix still fits
MOST = 2**63
# `seed=3`, `seed-3`, `seed_3`, `seed3`, with what parts it from the words before.
_SEED = re.compile(r"(?:^|(?<=[/_.\-\s]))seed[=_\- ]?(\d+)(?![\w])", re.IGNORECASE)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_KEY = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Identity:
    """Variant and, where the source tells it, seed; `settings` are the hyperparameters without these two."""

    variant: str
    seed: int | None
    settings: dict[str, Plain]


def identify(runs: Sequence[SourceRun], fallback: str, template: str | None) -> list[Identity]:
    """Variant and seed of each run.

    The seed is the hyperparameter `seed` (or random_seed, ...), else `seed=3`, `seed-3` or the like in the name. The
    variant is `template` with {key} replaced by hyperparameters ({run}: the name), else the hyperparameter `variant`,
    else the name without the seed, else `fallback`. Two names that become the same folder on some disk are told apart
    by a number.

    Raises:
        UsageError: the template names a hyperparameter that a run does not have.
    """
    found: list[Identity] = []
    folders: dict[str, str] = {}  # lower-cased folder -> the name that has it
    for run in runs:
        settings = dict(run.hyperparameters)
        name, seed = _without_seed(run.name)
        given = _seed_among(settings)
        variant = settings.pop("variant", None)
        if template is not None:
            raw = _fill(template, run)
        else:
            raw = str(variant) if variant not in (None, "") else name or fallback
        folder = base = folder_name(raw)
        number = 1
        while folders.setdefault(folder.lower(), raw) != raw:
            number += 1
            folder = f"{base}-{number}"
        found.append(Identity(folder, seed if given is None else given, settings))
    return found


def folder_name(text: str) -> str:
    """`text` as the name of an experiment or variant: letters, digits, . _ - and no path."""
    name = _NOT_IN_A_NAME.sub("-", text).strip("-.")[:LONGEST].rstrip("-.")
    if not name or not NAME.fullmatch(name):
        return "run"
    return f"{name}_" if name in RESERVED else name


def number_runs(seeds: Sequence[int | None], taken: Iterable[int]) -> list[int]:
    """The seeds with the lowest free numbers in place of those that are not known."""
    used = {*taken, *(seed for seed in seeds if seed is not None)}
    numbers = []
    free = 0
    for seed in seeds:
        if seed is None:
            while free in used:
                free += 1
            seed = free
            used.add(free)
        numbers.append(seed)
    return numbers


def _without_seed(name: str) -> tuple[str, int | None]:
    """The name without its mention of a seed, and the seed."""
    match = _SEED.search(name)
    if match is None or int(match[1]) >= MOST:
        return name, None
    rest = f"{name[: match.start()].rstrip('/_.- ')}{name[match.end() :]}"
    return rest.strip("/_.- "), int(match[1])


def _seed_among(settings: dict[str, Plain]) -> int | None:
    """Takes the seed out of the hyperparameters; a dotted key such as `trainer.seed` counts where no plain one is."""
    for key in sorted(settings, key=lambda key: key.count(".")):
        if key.rpartition(".")[2].lower() in SEED_KEYS:
            text = str(settings[key])
            if re.fullmatch(r"\d+(\.0*)?", text) and float(text) < MOST:
                settings.pop(key)
                return int(text.partition(".")[0])
    return None


def _fill(template: str, run: SourceRun) -> str:
    known: Mapping[str, Plain] = {**run.hyperparameters, "run": run.name}

    def value(match: re.Match[str]) -> str:
        key = match[1]
        if key not in known:
            listed = ", ".join(list(known)[:20])
            raise UsageError(
                f"--variant: run {run.name} has no hyperparameter '{key}'{nearest(key, known)}; it has {listed}"
            )
        return str(known[key])

    return _KEY.sub(value, template)
