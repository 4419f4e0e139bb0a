"""How long a run trains, and how often something happens during it."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field, model_validator

from nnopt.spec.base import Spec

Timing = TypeVar("Timing", bound=Spec)


class Every(Spec):
    """A period: exactly one of epochs, steps, seconds."""

    epochs: float | None = Field(None, gt=0, description="every so many passes over the training data")
    steps: int | None = Field(None, gt=0, description="every so many updates")
    seconds: float | None = Field(None, gt=0, description="every so many seconds of training")

    @model_validator(mode="after")
    def _exactly_one(self) -> Every:
        return exactly_one(self)


class Budget(Spec):
    """How long a run trains: exactly one of epochs, steps, seconds."""

    epochs: int | None = Field(None, gt=0, description="passes over the training data")
    steps: int | None = Field(None, gt=0, description="updates")
    seconds: float | None = Field(None, gt=0, description="seconds of training; such a run's bits are not promised")

    @model_validator(mode="after")
    def _exactly_one(self) -> Budget:
        return exactly_one(self)


def exactly_one(timing: Timing) -> Timing:
    """`timing`, after checking that just one of its keys is set."""
    given = [name for name in type(timing).model_fields if getattr(timing, name) is not None]
    if len(given) != 1:
        names = ", ".join(type(timing).model_fields)
        found = f"both {' and '.join(given)}" if given else "none of them"
        raise ValueError(f"should have exactly one of {names}, not {found}")
    return timing
