"""Searched keys that a file leaves out get the middle of their domain, so that the variant also stands for itself."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from nnopt.spec.experiment import RunSettings
from nnopt.spec.merge import WHOLE
from nnopt.spec.search.domains import Space
from nnopt.spec.search.setting import in_order, lay, nested_keys


def absent(keys: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Searched keys that `keys` (of a file, before they are read) leave out, each with the middle of its domain.

    Left out are also those that are searched under a condition which `keys` and these middles do not meet, and a
    second unit beside the one of a budget that is given.
    """
    found: dict[str, Any] = {}
    known: dict[str, Any] = {}
    for key in in_order(space):
        if not space[key].is_active(known):
            continue
        given, value = _look_up(keys, key.split("."))
        known[key] = value if given else space[key].middle()
        outer = key.split(".")[:-1]
        if not given and not (outer and outer[-1] in WHOLE and _look_up(keys, outer)[1]):
            found[key] = known[key]
    return found


def fill(keys: Mapping[str, Any], space: Space) -> RunSettings:
    """The settings of a variant's `keys`, with the middle of its domain for every searched key that they leave out.

    What is not right about the middle of a key that has a default is left to the check of the space.

    Raises:
        ValidationError: a key is wrong or missing.
    """
    waiting = absent(keys, space)
    settings, later = _read(keys, dict(waiting))
    if settings.search is None or not waiting:
        return settings
    search = settings.search.with_filled(waiting)
    with contextlib.suppress(ValidationError):
        settings = lay(settings, later)
    return settings.model_copy(update={"search": search})


def _read(keys: Mapping[str, Any], waiting: dict[str, Any]) -> tuple[RunSettings, dict[str, Any]]:
    """The settings, with those of the waiting keys that they cannot be read without; and the others."""
    try:
        return RunSettings.model_validate(keys), waiting
    except ValidationError as error:
        found = error.errors(include_url=False)
        missing = [".".join(map(str, item["loc"])) for item in found if item["type"] in ("missing", "kind")]
        told = (".".join(map(str, (*item["loc"], *item.get("ctx", {}).get("path", ())))) for item in found)
        missing += [path for path in told if path in waiting]  # a key that another one asks for
        needed = {
            key: value
            for key, value in waiting.items()
            if any(key == path or key.startswith(f"{path}.") for path in missing)
        }
        if not needed:
            raise
    filled = copy.deepcopy(dict(keys))
    _lay_into(filled, nested_keys(needed))
    return _read(filled, {key: value for key, value in waiting.items() if key not in needed})


def _look_up(keys: Any, path: list[str]) -> tuple[bool, Any]:
    """Whether a value stands at `path`, and which."""
    for name in path:
        if isinstance(keys, list) and name.isdecimal() and int(name) < len(keys):
            keys = keys[int(name)]
        elif isinstance(keys, Mapping) and name in keys:
            keys = keys[name]
        else:
            return False, None
    return True, keys


def _lay_into(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(name), dict):
            _lay_into(under[name], value)
        else:
            under[name] = value
