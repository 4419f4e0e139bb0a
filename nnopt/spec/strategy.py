"""How a run trains: batches, precision, rate decay, clipping, averaging, stopping, threads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from nnopt.spec.averages import AVERAGES, AverageSpec
from nnopt.spec.base import Items, Spec, show
from nnopt.spec.lr_decay import LR_DECAYS, Constant, LrDecaySpec

MAX_THREADS = 1024  # far more, and OpenMP ends the process


class GrowingBatch(Spec):
    """A batch that grows at given shares of the budget."""

    start: int = Field(gt=0, description="samples an update at first")
    factor: float = Field(2.0, gt=1, description="what the size is multiplied by at each point")
    at: Items[float] = Field(description="shares of the budget at which it grows, each between 0 and 1")

    @model_validator(mode="after")
    def _points_rise(self) -> GrowingBatch:
        if not self.at or any(not 0 < point < 1 for point in self.at) or list(self.at) != sorted(set(self.at)):
            raise ValueError("'at' should be a rising list of shares between 0 and 1, such as [0.5, 0.75]")
        return self

    def size(self, share: float) -> int:
        """Samples an update once `share` (0 to 1) of the budget is used."""
        return round(self.start * self.factor ** sum(share >= point for point in self.at))


def _number_or(word: str, mapping: type[Spec] | None = None, most: int | None = None) -> WrapValidator:
    """Takes a whole number from 1 (to `most`), the given word, or a mapping of its own."""
    forms = f"a whole number from 1{'' if most is None else f' to {most}'}, or {word}"
    forms += ", or a mapping (see `nnopt parts strategy`)" if mapping else ""

    def choose(value: Any, _handler: ValidatorFunctionWrapHandler) -> Any:
        if value == word or (mapping is not None and isinstance(value, mapping)):
            return value
        if mapping is not None and isinstance(value, dict):
            return mapping.model_validate(value)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= (most or value):
            return value
        raise PydanticCustomError("form", f"should be {forms}, not {show(value)}")

    return WrapValidator(choose)


class EarlyStopping(Spec):
    """Ends a run whose validation metric has stopped improving."""

    metric: str = Field("val_loss", description="column of metrics.csv to watch")
    patience: int = Field(gt=0, description="evaluations without improvement before the run ends")
    min_delta: float = Field(0.0, ge=0, description="smallest change that counts as an improvement")


class StrategySpec(Spec):
    """How a run trains."""

    batch_size: Annotated[int | Literal["full"] | GrowingBatch, _number_or("full", GrowingBatch)] = Field(
        128,
        description="samples an update: a whole number (a last smaller batch is kept), full, or {start, factor, at}",
    )
    accumulate: int = Field(
        1, gt=0, description="parts in which a batch goes through the model, to save memory; same mathematics"
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        "fp32", description="arithmetic of forward and backward pass; weights stay fp32"
    )
    lr_decay: Annotated[LrDecaySpec, LR_DECAYS] = Field(
        Constant(kind="constant"), description="how the learning rate changes over the budget"
    )
    clip_norm: float | None = Field(None, gt=0, description="longest gradient allowed, by its 2-norm")
    clip_value: float | None = Field(None, gt=0, lt=1e38, description="largest entry of the gradient allowed")
    early_stopping: EarlyStopping | None = Field(None, description="end when a metric stops improving")
    average: Annotated[AverageSpec, AVERAGES] | None = Field(None, description="average of the weights")
    compile: bool = Field(False, description="compile the model with torch.compile")
    graph: bool = Field(
        False, description="record an update once as a CUDA graph and replay it (CUDA and XPU; batches of one size)"
    )
    channels_last: bool = Field(
        False, description="pictures and convolutions in memory channel by channel last: faster on newer GPUs"
    )
    threads: Annotated[int | Literal["auto"], _number_or("auto", most=MAX_THREADS)] = Field(
        "auto", description="CPU threads: auto takes one for small models, all cores for larger ones"
    )

    @property
    def horizon_free(self) -> bool:
        """Whether the first steps are the same whatever the budget, so that a larger one can go on from them."""
        return (
            self.lr_decay.horizon_free
            and not isinstance(self.batch_size, GrowingBatch)
            and (self.average is None or self.average.kind == "ema")
        )
