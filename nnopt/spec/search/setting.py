"""A trial's keys laid over settings, and which of them count beside each other."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from nnopt.errors import SpecError
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import resolved
from nnopt.spec.merge import merge
from nnopt.spec.messages import in_words
from nnopt.spec.search.domains import Setting, Space


def in_order(space: Space) -> tuple[str, ...]:
    """The keys of a space as they are written, but conditional ones after what they depend on.

    Keys whose conditions run in a circle come last.
    """
    found: dict[str, None] = {}
    waiting = list(space)
    while waiting:
        ready = next((key for key in waiting if not set(space[key].when) & set(waiting)), waiting[0])
        waiting.remove(ready)
        found[ready] = None
    return tuple(found)


def active_keys(space: Space, setting: Setting) -> tuple[str, ...]:
    """The keys that are searched beside the values of `setting`, in order; values of inactive keys do not count."""
    counted: dict[str, Any] = {}
    active = []
    for key in in_order(space):
        if space[key].is_active(counted):
            active.append(key)
            if key in setting:
                counted[key] = setting[key]
    return tuple(active)


def with_setting(settings: RunSettings, setting: Setting) -> RunSettings:
    """The settings of a trial: `setting` laid over `settings` as overrides are, without their search.

    A searched key that the file leaves out and that `setting` does not have, as it is inactive, has its default.

    Raises:
        SpecError: they do not fit together; its lines name the keys.
    """
    try:
        return lay(settings, setting)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            path = (*item["loc"], *item.get("ctx", {}).get("path", ()))
            lines.append(f"{'.'.join(map(str, path)) or in_short(setting)}: {in_words(item)}")
        raise SpecError([f"the setting {in_short(setting)} is refused: {line}" for line in lines]) from None


def lay(settings: RunSettings, setting: Setting) -> RunSettings:
    """As `with_setting`.

    Raises:
        ValidationError: they do not fit together.
    """
    keys = resolved(settings)
    keys.pop("search", None)
    for key in settings.search.filled if settings.search else ():
        if key not in setting:
            _remove(keys, key.split("."))
    over = _into_lists(keys, nested_keys(setting))
    return RunSettings.model_validate(merge(keys, over))


def nested_keys(setting: Setting) -> dict[str, Any]:
    """`{a.b: 1, a.c: 2}` as `{a: {b: 1, c: 2}}`: whole mappings first, then the keys within them."""
    nested: dict[str, Any] = {}
    for key in sorted(setting, key=lambda key: key.count(".")):
        *outer, last = key.split(".")
        part = nested
        for name in outer:
            inner = part.get(name)
            part[name] = dict(inner) if isinstance(inner, dict) else {}
            part = part[name]
        part[last] = setting[key]
    return nested


def in_short(setting: Setting) -> str:
    """`optimizer.lr=0.01, strategy.batch_size=32`."""
    return ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in setting.items()
    )


def _remove(keys: dict[str, Any], path: list[str]) -> None:
    """Takes the value at `path` out; a mapping that is empty then stays."""
    for name in path[:-1]:
        inner = keys.get(name)
        if not isinstance(inner, dict):
            return
        keys = inner
    keys.pop(path[-1], None)


def _into_lists(under: Any, over: Any) -> Any:
    """`over`, in which a mapping of places (`model.hidden.0`) that lies over a list became the changed list."""
    if not isinstance(over, dict):
        return over
    if isinstance(under, list) and over and all(str(name).isdecimal() and int(name) < len(under) for name in over):
        changed = [_into_lists(old, over.get(str(place), old)) for place, old in enumerate(under)]
        return [merge(old, new) if isinstance(old, dict) else new for old, new in zip(under, changed, strict=True)]
    if not isinstance(under, dict):
        return over
    return {name: _into_lists(under.get(name), value) for name, value in over.items()}
