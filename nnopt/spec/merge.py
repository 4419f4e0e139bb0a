"""Variants and overrides laid over the keys above them, before anything is validated."""

from __future__ import annotations

from typing import Any

ONE_OF = {"budget", "every"}  # mappings of which exactly one key is set


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `under`: mappings are merged key by key, all else is replaced.

    A mapping whose `kind` changes, a one-of mapping and a list are replaced whole.
    """
    merged = dict(under)
    for key, value in over.items():
        old = under.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and key not in ONE_OF and not _kind_changes(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`{a: {b: value}}` for the path (a, b)."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _kind_changes(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "kind" in new and new["kind"] != old.get("kind")
