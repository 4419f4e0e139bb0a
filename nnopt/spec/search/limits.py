"""What the networks of a search may take at most, and what may be weighed against their quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from nnopt.spec.base import Spec

Against = Literal["parameters", "nonzero_parameters", "network_bytes", "multiply_adds", "latency_seconds"]


class LimitsSpec(Spec):
    """What a trial's network may take at most, as the model is built: one that takes more is not trained."""

    parameters: int | None = Field(None, gt=0, description="numbers in its weights, biases and norms")
    multiply_adds: int | None = Field(None, gt=0, description="of the forward pass of one sample")
    latency_seconds: float | None = Field(
        None, gt=0, description="median of a forward pass of one sample, measured once before the trial would train"
    )

    @property
    def given(self) -> dict[str, float]:
        """Quantity -> limit, of those that are limited."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


def limits_in_words(limits: Mapping[str, float]) -> str:
    """`parameters at most 20,000 and latency_seconds at most 0.002`."""
    return " and ".join(f"{name} at most {size_in_words(value)}" for name, value in limits.items())


def over_in_words(sizes: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """`over: parameters 30,122, at most 20,000`; of the quantities that are beyond their limit."""
    beyond = [name for name, most in limits.items() if sizes.get(name, 0) > most]
    each = [f"{name} {size_in_words(sizes[name])}, at most {size_in_words(limits[name])}" for name in beyond]
    return f"over: {'; '.join(each)}"


def size_in_words(value: float) -> str:
    """`20,000`, `0.0021`."""
    return f"{value:,.0f}" if value == round(value) else f"{value:.3g}"
