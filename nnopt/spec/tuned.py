"""How settings were found: what a comparison has to know to be fair, and what changes no number of a run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from nnopt.spec.base import Items, Spec, mistake_at, show
from nnopt.spec.nearest import closest

Range = Annotated[Items[float], Field(min_length=2, max_length=2)]  # lowest and highest value


class TunedSpec(Spec):
    """How the settings were found: by how many trials, within which ranges."""

    trials: int = Field(ge=1, description="settings that were tried for this variant, the chosen one among them")
    ranges: dict[str, Range] = Field(
        {},
        description="lowest and highest value tried of each key that was searched, as {optimizer.lr: [0.01, 3]}",
    )

    @field_validator("ranges")
    @classmethod
    def _ranges_rise(cls, ranges: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for key, (low, high) in ranges.items():
            if not low < high:
                raise mistake_at((key,), f"should be the lowest and the highest value, not [{low:g}, {high:g}]")
        return ranges


def check_ranges(tuned: TunedSpec, settings: Spec) -> None:
    """Refuses a searched key that `settings` do not have, or that is no number.

    Raises:
        PydanticCustomError: at the first such key.
    """
    for key in tuned.ranges:
        part: Any = settings
        names = key.split(".")
        for place, name in enumerate(names):
            if name not in _names(part):
                raise mistake_at(("tuned", "ranges", key), _unknown(names, place, part))
            part = part[int(name)] if isinstance(part, tuple) else getattr(part, name)
        if isinstance(part, bool) or not isinstance(part, int | float | None):
            is_ = "a mapping" if isinstance(part, Spec) else show(part)
            raise mistake_at(("tuned", "ranges", key), f"{key} is {is_}, and a range is one of numbers")


def _names(part: Any) -> list[str]:
    """The names that a dotted key can go on with."""
    if isinstance(part, Spec):
        return list(type(part).model_fields)
    return [str(place) for place in range(len(part))] if isinstance(part, tuple) else []


def _unknown(names: list[str], place: int, part: Any) -> str:
    """What is wrong with a key whose name at `place` is not in `part`, and which one may be meant."""
    known, name = _names(part), names[place]
    near = closest(name, known)
    message = f"unknown key '{'.'.join(names)}'"
    if near:
        return f"{message}; did you mean '{'.'.join([*names[:place], near, *names[place + 1 :]])}'?"
    whose = getattr(part, "kind", ".".join(names[:place]) or "a variant")
    has = f"the keys of {whose} are {', '.join(known)}" if known else f"{whose} has no keys of its own"
    return f"{message}; {has}; a variant that was searched over other keys has `tuned.ranges` of its own"
