"""When and by what a run is judged, and what it keeps of itself on the way."""

from __future__ import annotations

from pydantic import Field

from nnopt.spec.base import Items, Spec
from nnopt.spec.timing import Every


class Target(Spec):
    """The value of a metric that time-to-target waits for."""

    metric: str = Field(description="column of metrics.csv, such as val_accuracy")
    value: float = Field(description="value to reach: from below where more is better, else from above")
    stop: bool = Field(False, description="end the run at the evaluation that sees it reached")


class EvaluationSpec(Spec):
    """Passes over the validation data."""

    every: Every = Field(Every(epochs=1), description="how often")
    at_start: bool = Field(False, description="also before the first update")
    metrics: Items[str] = Field((), description="metrics besides the loss; empty: the task's usual ones")
    select: str | None = Field(
        None,
        description="column that names the best weights; default val_accuracy, or val_loss for real values",
    )
    target: Target | None = Field(None, description="value whose moment of reaching is recorded")
    batch_size: int = Field(1000, gt=0, description="samples a forward pass")
    test_time: int = Field(
        0,
        ge=0,
        le=1000,
        description="changed copies of each validation and test sample, drawn by data.augment without its mixtures: "
        "judged is the mean of the probabilities, or values, for the sample and its copies",
    )


class CheckpointSpec(Spec):
    """State kept on disk, from which a stopped run goes on."""

    every: Every | None = Field(None, description="how often; default at every evaluation")
    best: bool = Field(True, description="keep the best weights too")


class LoggingSpec(Spec):
    """What a run puts down besides its evaluations."""

    every: int = Field(10, gt=0, description="steps between rows of steps.csv")
    layers: bool = Field(True, description="gradients, activations and dead units by layer in layers.csv")
    latency: bool = Field(True, description="time the network's answers when the run ends")
