"""The values that one key is searched over: `{log: [...]}`, `{range: [...]}`, `{int: [...]}`, `{choice: [...]}`."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nnopt.spec.base import Items, Spec, mistake_at, show

MANY = 1000  # whole numbers that a grid takes without being told so
Whole = int  # inside IntRange `int` is a key
Scalar = str | int | float | bool
SCALARS = {
    "anyOf": [
        {"type": ["string", "number", "boolean"]},
        {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
    ]
}
Ends = Annotated[Items[float], Field(min_length=2, max_length=2)]
WholeEnds = Annotated[Items[int], Field(min_length=2, max_length=2)]

# What a trial sets: dotted key -> plain value (a number, a text, a truth value, None, a list or a mapping).
Setting = Mapping[str, Any]


class Domain(Spec, ABC):
    """Values that a key is searched over. `place` is a number in [0, 1], the same measure for every kind."""

    when: dict[str, Annotated[Items[Scalar], WithJsonSchema(SCALARS)]] = Field(
        {}, description="searched only where other searched keys have one of these values: {optimizer.kind: [adam]}"
    )

    @field_validator("when", mode="before")
    @classmethod
    def _one_value_is_a_list(cls, when: Any) -> Any:
        if not isinstance(when, dict):
            return when
        return {key: value if isinstance(value, list | tuple) else [value] for key, value in when.items()}

    @abstractmethod
    def at(self, place: float) -> Any:
        """The value at `place`: equal parts of [0, 1] hold equally likely values."""

    @abstractmethod
    def grid(self) -> tuple[Any, ...]:
        """The values that a grid takes.

        Raises:
            PydanticCustomError: it takes `points`, and they are not given.
        """

    @abstractmethod
    def probes(self) -> tuple[Any, ...]:
        """Values which the key must take for the whole domain to be fine: the ends, or every choice."""

    def middle(self) -> Any:
        """The value that stands for the domain where nothing was searched yet."""
        return self.at(0.5)

    def is_active(self, setting: Setting) -> bool:
        """Whether the key is searched beside these values of other keys."""
        return all(key in setting and setting[key] in values for key, values in self.when.items())


class NumberDomain(Domain):
    """A range of numbers, evenly or by factors."""

    @property
    @abstractmethod
    def low(self) -> float:
        """The lowest value."""

    @property
    @abstractmethod
    def high(self) -> float:
        """The highest value."""

    @property
    @abstractmethod
    def is_log(self) -> bool:
        """Whether equal factors are equally likely, and not equal differences."""

    def place_of(self, value: float) -> float:
        """Where `value` lies: 0 at the low end, 1 at the high one, beyond them outside of [0, 1]."""
        if not self.is_log:
            return (value - self.low) / (self.high - self.low)
        return (math.log(value) - math.log(self.low)) / _log_width(self.low, self.high) if value > 0 else -math.inf

    @abstractmethod
    def with_ends(self, low: float, high: float) -> NumberDomain:
        """The same domain with other ends."""


class RealDomain(NumberDomain):
    """Real numbers."""

    points: int | None = Field(None, ge=2, le=MANY, description="values that a grid takes, both ends among them")

    def at(self, place: float) -> float:
        """As the base class says, to six digits (more where the range is narrow), so that it can be written down."""
        if place <= 0 or place >= 1:
            return self.low if place <= 0 else self.high
        if self.is_log:
            value = math.exp(math.log(self.low) + place * _log_width(self.low, self.high))
        else:
            value = self.low + place * (self.high - self.low)
        farthest = max(abs(self.low), abs(self.high))
        digits = min(6 + int(math.log10(max(1.0, farthest / (self.high - self.low)))), 17)
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)

    def grid(self) -> tuple[float, ...]:
        """As the base class says."""
        if self.points is None:
            raise PydanticCustomError("points", "a grid needs `points` here: how many values, both ends among them")
        return tuple(self.at(index / (self.points - 1)) for index in range(self.points))

    def probes(self) -> tuple[float, ...]:
        """Both ends."""
        return self.low, self.high


class LogRange(RealDomain):
    """Real numbers by factors: each decade is as likely as the next."""

    log: Ends = Field(description="lowest and highest value, searched by factors: [1.0e-4, 1]")

    @field_validator("log")
    @classmethod
    def _rises_from_above_zero(cls, ends: tuple[float, ...]) -> tuple[float, ...]:
        _check_ends(ends)
        if ends[0] <= 0:
            raise PydanticCustomError(
                "ends",
                f"should be greater than 0 at both ends to be searched by factors, "
                f"not {ends[0]:g}; {{range: [...]}} takes 0",
            )
        return ends

    @property
    def low(self) -> float:
        """As the base class says."""
        return self.log[0]

    @property
    def high(self) -> float:
        """As the base class says."""
        return self.log[1]

    @property
    def is_log(self) -> bool:
        """Always."""
        return True

    def with_ends(self, low: float, high: float) -> LogRange:
        """As the base class says."""
        return self.model_copy(update={"log": (low, high)})


class LinearRange(RealDomain):
    """Real numbers evenly."""

    range: Ends = Field(description="lowest and highest value, searched evenly: [0, 1]")

    @field_validator("range")
    @classmethod
    def _rises(cls, ends: tuple[float, ...]) -> tuple[float, ...]:
        _check_ends(ends)
        if math.isinf(ends[1] - ends[0]):
            raise PydanticCustomError("ends", f"is too wide: {ends[0]:g} to {ends[1]:g}")
        return ends

    @property
    def low(self) -> float:
        """As the base class says."""
        return self.range[0]

    @property
    def high(self) -> float:
        """As the base class says."""
        return self.range[1]

    @property
    def is_log(self) -> bool:
        """Never."""
        return False

    def with_ends(self, low: float, high: float) -> LinearRange:
        """As the base class says."""
        return self.model_copy(update={"range": (low, high)})


class IntRange(NumberDomain):
    """Whole numbers, both ends among them, evenly or by factors."""

    int: WholeEnds = Field(description="lowest and highest value: [16, 512]")
    log: bool = Field(False, description="by factors instead of evenly")
    points: Whole | None = Field(None, ge=2, le=MANY, description="values that a grid takes; default all of them")

    @field_validator("int")
    @classmethod
    def _rises(cls, ends: tuple[Whole, ...]) -> tuple[Whole, ...]:
        _check_ends(ends)
        return ends

    @model_validator(mode="after")
    def _factors_need_positive_ends(self) -> IntRange:
        if self.log and self.int[0] < 1:
            raise mistake_at(("int",), f"should begin at 1 or above to be searched by factors, not at {self.int[0]}")
        return self

    @property
    def low(self) -> float:
        """As the base class says."""
        return float(self.int[0])

    @property
    def high(self) -> float:
        """As the base class says."""
        return float(self.int[1])

    @property
    def is_log(self) -> bool:
        """As the key `log` says."""
        return self.log

    def at(self, place: float) -> Whole:
        """As the base class says: each number has the stretch of half a step to either side (in factors: its log)."""
        low, high = self.int[0] - 0.5, self.int[1] + 0.5
        value = math.exp(math.log(low) + place * math.log(high / low)) if self.log else low + place * (high - low)
        return min(max(round(value), self.int[0]), self.int[1])

    def grid(self) -> tuple[Whole, ...]:
        """As the base class says; with `points` those nearest to equal distances, each once."""
        low, high = self.int
        if self.points is None and high - low >= MANY:
            raise PydanticCustomError("points", f"a grid needs `points` here: {low:g} to {high:g} are very many values")
        if self.points is None:
            return tuple(range(low, high + 1))
        shares = [index / (self.points - 1) for index in range(self.points)]
        values = [low * (high / low) ** share if self.log else low + share * (high - low) for share in shares]
        return tuple(dict.fromkeys(round(value) for value in values))

    def probes(self) -> tuple[Whole, ...]:
        """Both ends."""
        return tuple(self.int)

    def with_ends(self, low: float, high: float) -> IntRange:
        """As the base class says, the ends rounded."""
        return self.model_copy(update={"int": (round(low), round(high))})


class Choice(Domain):
    """One of several values, of any kind."""

    choice: Items[Any] = Field(
        min_length=2, max_length=MANY, description="the values: [16, 32], [relu, tanh], [[64], [128, 64]]"
    )

    @field_validator("choice")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        for first, second in itertools.combinations(values, 2):
            if type(first) is type(second) and first == second:
                raise PydanticCustomError("choice", f"{show(first)} is given twice")
        return values

    def at(self, place: float) -> Any:
        """As the base class says."""
        return self.choice[min(int(place * len(self.choice)), len(self.choice) - 1)]

    def grid(self) -> tuple[Any, ...]:
        """All of them."""
        return self.choice

    def probes(self) -> tuple[Any, ...]:
        """All of them."""
        return self.choice

    def middle(self) -> Any:
        """The first."""
        return self.choice[0]


def _log_width(low: float, high: float) -> float:
    """The width of a range searched by factors, in natural logarithms (the quotient itself may be too large)."""
    return math.log(high) - math.log(low)


def _check_ends(ends: tuple[Any, ...]) -> tuple[Any, ...]:
    low, high = ends
    if low == high:
        raise PydanticCustomError("ends", f"is empty: both ends are {low:g}; leave the key out to keep one value")
    if low > high:
        raise PydanticCustomError("ends", f"is reversed: write [{high:g}, {low:g}]")
    return ends


EXAMPLES = "{log: [1.0e-4, 1]}, {range: [0, 1]}, {int: [16, 512]} or {choice: [a, b]}"


def _choose(value: Any) -> Any:
    """The class that the mapping's keys name, and the mapping read by it."""
    if isinstance(value, Domain):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("domain", f"should say which values are searched, as {EXAMPLES}, not {show(value)}")
    named = [key for key in ("int", "range", "choice") if key in value]
    if not named and "log" in value:
        named = ["log"]
    if len(named) != 1 or (named != ["int"] and named != ["log"] and "log" in value):
        found = " and ".join([*named, *(["log"] if "log" in value and named != ["log"] else [])]) or "none of them"
        raise PydanticCustomError(
            "domain", f"should have exactly one of log, range, int, choice, not {found}: {EXAMPLES}"
        )
    return CLASSES[named[0]].model_validate(value)


CLASSES: dict[str, type[Domain]] = {"int": IntRange, "range": LinearRange, "choice": Choice, "log": LogRange}
DOMAINS = tuple(CLASSES.values())
AnyDomain = Annotated[LogRange | LinearRange | IntRange | Choice, BeforeValidator(_choose)]
Space = Mapping[str, Domain]
