"""`optimizer.groups`: parameters with a learning rate and a weight decay of their own."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from nnopt.spec.base import Items, Spec
from nnopt.spec.transfer import PATTERNS


class ParameterGroupSpec(Spec):
    """Some of the parameters; one that several groups name belongs to the first of them."""

    parameters: Items[str] = Field(min_length=1, description=PATTERNS)
    lr: float = Field(1.0, gt=0, lt=1e38, description="what the learning rate is multiplied by for them")
    weight_decay: float | None = Field(
        None, ge=0, lt=1e38, description="theirs in place of the optimizer's own; decoupled where that has none"
    )

    @field_validator("lr", mode="before")
    @classmethod
    def _trains(cls, lr: Any) -> Any:
        if lr == 0 and not isinstance(lr, bool):
            raise ValueError("0 would train none of them: name them in model.freeze instead")
        return lr


def group_in_words(record: dict[str, Any]) -> str:
    """One group of summary.json in words: `0, 3: 4 tensors, 1,370 parameters, rate x 0.1, weight decay 0`."""
    tensors = f"{record['tensors']} tensor{'' if record['tensors'] == 1 else 's'}"
    decay = f", weight decay {record['weight_decay']:g}" if "weight_decay" in record else ""
    names = ", ".join(record["parameters"])
    return f"{names}: {tensors}, {record['count']:,} parameters, rate x {record['lr']:g}{decay}"
