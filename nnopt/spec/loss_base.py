"""What every loss of a spec has in common: the L1 and L2 terms that it can carry, and what it is for."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from nnopt.data.task import Task
from nnopt.errors import DataError
from nnopt.spec.base import KindSpec

if TYPE_CHECKING:
    import torch

    from nnopt.data.dataset import Dataset
    from nnopt.losses.loss import Loss

# What a model's outputs are to a loss: values, logits of one softmax, logits of a sigmoid each, or those of several
# questions side by side.
Answers = Literal["values", "softmax", "sigmoid", "questions"]

# Tasks that a loss has to be made for, and the one that is.
_SPECIAL: dict[Task, str] = {
    "multilabel": "labels, of which a sample has any number: use bce",
    "language": "text: use cross_entropy",
    "multitask": "several questions: use multitask",
    "function": "a function that is made small: use objective",
}


class LossSpec(KindSpec):
    """A loss, with l1 · ‖w‖₁ + l2/2 · ‖w‖² added to what is minimised (loss columns leave these out)."""

    needs_classes: ClassVar[bool] = False
    answers: ClassVar[Answers] = "values"
    # The tasks that it is for besides those of classes and of numbers.
    also_for: ClassVar[tuple[Task, ...]] = ()

    l1: float = Field(0.0, ge=0, lt=1e38, description="adds l1 · ‖w‖₁ to the objective")
    l2: float = Field(0.0, ge=0, lt=1e38, description="adds l2/2 · ‖w‖² to the objective")
    penalise: Literal["weights", "all"] = Field(
        "weights", description="what l1 and l2 cover: weights leaves out biases and norm layers"
    )

    def check(self, task: Task, data_outputs: int) -> None:
        """Whether this loss suits data of `task` with `data_outputs` classes or target columns.

        Raises:
            DataError: it does not, in words.
        """
        if task in _SPECIAL and task not in self.also_for:
            raise DataError(f"loss {self.kind} is not for {_SPECIAL[task]}")
        if self.needs_classes and task == "regression":
            raise DataError(f"loss {self.kind} needs classes; this data has real-valued targets: use mse, mae or huber")

    def model_outputs(self, task: Task, data_outputs: int) -> int:
        """How many outputs the model has: one a class or target column unless a loss says otherwise.

        Raises:
            DataError: as check.
        """
        self.check(task, data_outputs)
        return data_outputs

    @abstractmethod
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        """The loss on `device` for data of `task` with `data_outputs` classes or target columns.

        Raises:
            DataError: as check.
        """

    def build_for(self, data: Dataset, device: torch.device | str) -> Loss:
        """The loss on `device` for a data set that was read.

        Raises:
            DataError: as check.
        """
        return self.build(data.task, data.outputs, device)

    def penalised(self, model: torch.nn.Module) -> set[str]:
        """The names of the parameters of `model` that l1 and l2 cover."""
        from nnopt.losses import penalised_names

        if self.penalise == "all":
            return {name for name, _ in model.named_parameters()}
        return penalised_names(model)
