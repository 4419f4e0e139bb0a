"""Variants and overrides laid over the keys above them, before anything is validated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Mappings that are replaced whole: those of which exactly one key is set, and the ranges and the space of a search,
# which say what is searched and what is not.
WHOLE = {"budget", "every", "ranges", "space"}


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `under`: mappings are merged key by key, all else is replaced.

    A mapping whose `kind` changes, a list, and the mappings in WHOLE are replaced whole.
    """
    merged = dict(under)
    for key, value in over.items():
        old: Any = under.get(key)
        merged[key] = merge(old, value) if _are_merged(key, old, value) else value
    return merged


def given(under: dict[str, Any], over: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths whose values `merge` takes whole from `over`."""
    for key, value in over.items():
        old: Any = under.get(key)
        if _are_merged(key, old, value):
            yield from given(old, value, (*at, key))
        else:
            yield (*at, key)


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`{a: {b: value}}` for the path (a, b)."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _are_merged(key: str, old: Any, new: Any) -> bool:
    if not (isinstance(old, dict) and isinstance(new, dict)) or key in WHOLE:
        return False
    return "kind" not in new or new["kind"] == old.get("kind")
