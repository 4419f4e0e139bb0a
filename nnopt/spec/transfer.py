"""What a model begins with, which of it trains, and from when on: `model.init_from`, `freeze`, `unfreeze`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from nnopt.spec.base import Items, Spec, mistake_at, show
from nnopt.spec.timing import exactly_one

SEED = "{seed}"
OF_A_FILE = re.compile(r"(?:([^/]+)/)?([^/]+)/(seed-(?:\d+|\{seed\}))")

PATTERNS = "patterns of names of parameters (0.weight) or of layers (0, blocks.*)"


class SourceSpec(Spec):
    """Trained weights: those of a run, or in a file."""

    run: str | None = Field(
        None,
        min_length=1,
        description="a RUN that is done: a folder, experiment/variant/seed-k, or a tail of it; {seed} stands for the "
        "run's seed. A run of the same file is trained first",
    )
    spec: str | None = Field(
        None,
        pattern="^[0-9a-f]{16}$",
        description="hash of that run's spec, where folders of one name hold several; filled in for runs of the file",
    )
    weights: Literal["best", "last"] = Field("best", description="which weights of the run")
    checkpoint: str | None = Field(
        None, min_length=1, description="a file of weights instead, as torch.save writes a state_dict; {seed} as above"
    )

    @field_validator("run", "checkpoint")
    @classmethod
    def _only_the_seed_is_filled_in(cls, value: str | None) -> str | None:
        if value is not None and ("{" in value.replace(SEED, "") or "\0" in value):
            raise ValueError(f"should hold no braces but those of {SEED}, not {show(value)}")
        return value

    @model_validator(mode="after")
    def _run_or_file(self) -> SourceSpec:
        if (self.run is None) == (self.checkpoint is None):
            raise ValueError("should have exactly one of run, checkpoint")
        if self.checkpoint is not None and (self.weights != "best" or self.spec is not None):
            raise mistake_at(("checkpoint",), "weights and spec go with run: a file holds one network")
        return self

    def of_file(self, experiment: str, variants: Mapping[str, object]) -> tuple[str, str] | None:
        """The variant and `seed-k` of the run that this names among those of a file; None where it names another."""
        found = OF_A_FILE.fullmatch(self.run or "")
        if found is None or found[1] not in (None, experiment) or found[2] not in variants:
            return None
        return found[2], found[3]

    def name_for(self, seed: int) -> str:
        """The run or file that this names for a run with this seed."""
        return str(self.run or self.checkpoint).replace(SEED, str(seed))


class InitFromSpec(SourceSpec):
    """Weights to begin with, taken by name and shape.

    A tensor of the model that the source lacks, or has in another shape, is an error; but for those of the last layer,
    which is then a new head with weights drawn as always, and those that `leave_out` names.
    """

    only: Items[str] = Field(("*",), min_length=1, description=f"{PATTERNS} that are taken")
    leave_out: Items[str] = Field((), description=f"{PATTERNS} that are drawn as always")


class Moment(Spec):
    """A moment of the training: exactly one of steps, epochs, share."""

    steps: int | None = Field(None, gt=0, description="after so many updates")
    epochs: float | None = Field(None, gt=0, description="after so many passes over the training data")
    share: float | None = Field(None, gt=0, lt=1, description="after this share of the budget")

    @model_validator(mode="after")
    def _exactly_one(self) -> Moment:
        return exactly_one(self)


class UnfreezeSpec(Spec):
    """Parameters that train from a moment on; the optimizer's memory and the average begin anew then."""

    parameters: Items[str] = Field(min_length=1, description=f"{PATTERNS} among those that are frozen")
    at: Moment = Field(description="steps, epochs or share of the budget, after which they train")
