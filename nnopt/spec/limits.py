"""Which values a key of the spec takes at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from nnopt.spec.base import Kinds, Spec
from nnopt.spec.experiment import RunSettings


@dataclass(frozen=True)
class Limits:
    """The lowest and the highest value of a key; an open end is not reached itself."""

    low: float = -math.inf
    high: float = math.inf
    low_is_open: bool = False
    high_is_open: bool = False

    def inside(self, value: float, towards: float) -> float:
        """`value` where the key takes it, else the limit itself, or halfway from `towards` to one that is open."""
        if value < self.low or (value == self.low and self.low_is_open):
            return (towards + self.low) / 2 if self.low_is_open else self.low
        if value > self.high or (value == self.high and self.high_is_open):
            return (towards + self.high) / 2 if self.high_is_open else self.high
        return value


def limits(settings: Mapping[str, Any], key: str) -> Limits:
    """The limits of a dotted key in resolved settings; none for what is not known here, as keys of plug-ins."""
    part: type[Spec] | None = RunSettings
    values: Any = settings
    *outer, last = key.split(".")
    for name in outer:
        field = part.model_fields.get(name) if part else None
        values = values.get(name) if isinstance(values, Mapping) else None
        part = _part_of(field, values) if field else None
    field = part.model_fields.get(last) if part else None
    return _limits_of(field) if field else Limits()


def _part_of(field: FieldInfo, values: Any) -> type[Spec] | None:
    """The class of a mapping of the spec: of a union the one that `kind` names."""
    for item in field.metadata:
        if isinstance(item, Kinds):
            return item.named().get(values.get("kind", "")) if isinstance(values, Mapping) else None
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Spec) else None


def _limits_of(field: FieldInfo) -> Limits:
    found: dict[str, float] = {}
    for item in field.metadata:
        for name in ("gt", "ge", "lt", "le"):
            bound = getattr(item, name, None)
            if bound is not None:
                found[name] = float(bound)
    return Limits(
        low=found.get("gt", found.get("ge", -math.inf)),
        high=found.get("lt", found.get("le", math.inf)),
        low_is_open="gt" in found,
        high_is_open="lt" in found,
    )
