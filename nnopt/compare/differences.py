"""The keys in which specs differ, and no others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

# What a run is called and how its settings were found, not what it does.
NAMES = ("name", "variant", "variants", "seed", "seeds", "tuned")

Value = Any


def differences(specs: Mapping[str, Mapping[str, Value]], partial: Collection[str] = ()) -> dict[str, dict[str, Value]]:
    """Dotted key -> label -> value, for each key that is not the same in all `specs` (label -> nested spec).

    Of the labels in `partial` not all keys are known (runs of other tools): a key that they lack does not differ.

    A label whose spec lacks the key is absent from that key's mapping. A list is one value, except a list of
    mappings (such as the blocks of a network), whose members are told by their place:
    `model.blocks.0.channels`. 1 and 1.0 are the same, 1 and true are not.
    """
    flat = {label: dict(_flatten(_without_names(spec))) for label, spec in specs.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    table = {key: {label: values[key] for label, values in flat.items() if key in values} for key in keys}
    whole = [label for label in flat if label not in partial]
    return {
        key: values
        for key, values in table.items()
        if any(label not in values for label in whole) or not _all_same(values)
    }


def worth_telling(
    found: Mapping[str, dict[str, Value]], specs: Mapping[str, Mapping[str, Value]]
) -> dict[str, dict[str, Value]]:
    """`found` by `differences` of `specs`, less the defaults within a mapping that some specs do not have at all.

    That one variant prunes and another does not is said by what it prunes, not by each key that it left alone.
    """
    flat = {label: dict(_flatten(_without_names(spec))) for label, spec in specs.items()}
    within = {key: f"{key.rpartition('.')[0]}." for key in found}
    lacking = {
        start
        for start in set(within.values()) - {"."}
        if any(not any(key.startswith(start) for key in keys) for keys in flat.values())
    }
    own = {label: _own_keys(spec) for label, spec in specs.items()} if lacking else {}

    def says_something(key: str, values: Mapping[str, Value]) -> bool:
        return within[key] not in lacking or any(own[label] is None or key in (own[label] or ()) for label in values)

    return {key: values for key, values in found.items() if says_something(key, values)}


def _own_keys(spec: Mapping[str, Value]) -> set[str] | None:
    """The dotted keys of a spec that are not left at their defaults; None where it is not one of this nnopt's."""
    from pydantic import ValidationError

    from nnopt.spec.experiment import RunSettings  # takes a fifth of a second, and is seldom needed here
    from nnopt.spec.identity import differing

    try:
        settings = RunSettings.model_validate(_without_names(spec))
    except ValidationError:
        return None
    # Those that are no part of a spec's identity are not in `differing`.
    others = {name: spec[name] for name in RunSettings.model_fields.keys() - differing(settings).keys() if name in spec}
    return {key for part in (differing(settings), others) for key, _ in _flatten(part)}


def _without_names(spec: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in spec.items() if key not in NAMES}


def _flatten(value: Value, prefix: str = "") -> Iterator[tuple[str, Value]]:
    inner: list[tuple[str, Value]] = []
    if isinstance(value, Mapping):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        inner = [(str(place), item) for place, item in enumerate(value)]
    if not inner and prefix and value != {}:
        yield prefix, list(value) if isinstance(value, tuple) else value
    for key, item in inner:
        yield from _flatten(item, f"{prefix}.{key}" if prefix else key)


def _all_same(values: Mapping[str, Value]) -> bool:
    first, *others = values.values()
    return all(_same(first, other) for other in others)


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
