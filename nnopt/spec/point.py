"""Model and loss of a function that is made small: `data: {kind: function}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from nnopt.data.task import Task
from nnopt.errors import DataError
from nnopt.spec.base import Items
from nnopt.spec.loss_base import LossSpec
from nnopt.spec.model_base import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nnopt.data.dataset import Dataset
    from nnopt.losses.loss import Loss


class Point(ModelSpec):
    """A place in space: its coordinates are the parameters."""

    formula: ClassVar[str] = "z = θ"

    kind: Literal["point"]
    start: Items[float] | None = Field(None, description="where it begins; drawn by the run's seed where not given")
    spread: float = Field(2.0, gt=0, lt=1e6, description="a drawn start has coordinates between -spread and spread")

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        import torch

        from nnopt.models import point

        if self.start is None:
            return point.drawn_point(outputs, self.spread)
        if len(self.start) != outputs:
            raise DataError(f"model.start has {len(self.start)} coordinates, and the data asks for {outputs}")
        return point.Point(torch.tensor(self.start, dtype=torch.float32))


class Objective(LossSpec):
    """The value of the data's own function at the model's outputs."""

    formula: ClassVar[str] = "J = f(z) + mean over the batch of εᵢ·z"

    kind: Literal["objective"]

    @override
    def check(self, task: Task, data_outputs: int) -> None:
        if task != "function":
            raise DataError("loss objective is for data: {kind: function}; this data has targets to compare with")

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        self.check(task, data_outputs)
        raise DataError("loss objective takes its function from the data set: build it by build_for")

    @override
    def build_for(self, data: Dataset, device: torch.device | str) -> Loss:
        from nnopt.losses import objective

        self.check(data.task, data.outputs)
        assert data.landscape is not None
        return objective.Objective(data.landscape.value)
