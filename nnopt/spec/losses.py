"""Losses of a spec, and the L1 and L2 terms that any of them can carry."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from nnopt.errors import DataError
from nnopt.spec.base import Items, Kinds, KindSpec
from nnopt.spec.metric_names import Task

if TYPE_CHECKING:
    import torch

    from nnopt.losses import Loss


class LossSpec(KindSpec):
    """A loss, with l1 · ‖w‖₁ + l2/2 · ‖w‖² added to what is minimised (loss columns leave these out)."""

    needs_classes: ClassVar[bool] = False
    # What the model's outputs are to this loss: values, logits of one softmax, or logits of a sigmoid each.
    answers: ClassVar[Literal["values", "softmax", "sigmoid"]] = "values"

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
        if self.needs_classes and task != "classification":
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

    def penalised(self, model: torch.nn.Module) -> set[str]:
        """The names of the parameters of `model` that l1 and l2 cover."""
        from nnopt.losses import penalised_names

        if self.penalise == "all":
            return {name for name, _ in model.named_parameters()}
        return penalised_names(model)


class Mse(LossSpec):
    """Mean squared error; on classes, against one-hot vectors (the quadratic cost)."""

    formula: ClassVar[str] = "J = 1/(nd) · Σᵢ Σⱼ (zᵢⱼ − yᵢⱼ)²"

    kind: Literal["mse"]

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        from torch.nn.functional import mse_loss

        return _component_loss(self, mse_loss, task, data_outputs, device)


class Mae(LossSpec):
    """Mean absolute error; on classes, against one-hot vectors."""

    formula: ClassVar[str] = "J = 1/(nd) · Σᵢ Σⱼ |zᵢⱼ − yᵢⱼ|"

    kind: Literal["mae"]

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        from torch.nn.functional import l1_loss

        return _component_loss(self, l1_loss, task, data_outputs, device)


class Huber(LossSpec):
    """Squared for small errors, linear beyond delta; on classes, against one-hot vectors."""

    formula: ClassVar[str] = "J = mean of e²/2 where |e| ≤ δ, else δ(|e| − δ/2), with e = z − y"
    source: ClassVar[str] = "Huber 1964, Robust Estimation of a Location Parameter"

    kind: Literal["huber"]
    delta: float = Field(1.0, gt=0, description="the error where squared turns into linear (targets standardised)")

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        from functools import partial

        from torch.nn.functional import huber_loss

        return _component_loss(self, partial(huber_loss, delta=self.delta), task, data_outputs, device)


class CrossEntropy(LossSpec):
    """Cross-entropy of softmax and the class, with label smoothing and class weights."""

    formula: ClassVar[str] = (
        "J = −1/n · Σᵢ Σ_c w_c q_ic log softmax(zᵢ)_c, q_ic = (1 − s)[c = yᵢ] + s/K; "
        "divided by n, not by Σ w as in torch"
    )
    source: ClassVar[str] = "label smoothing: Szegedy et al. 2015, arXiv:1512.00567"
    needs_classes: ClassVar[bool] = True
    answers: ClassVar[Literal["values", "softmax", "sigmoid"]] = "softmax"

    kind: Literal["cross_entropy"]
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share s of the target spread over all classes")
    class_weights: Items[Annotated[float, Field(ge=0)]] | None = Field(
        None, description="a weight a class, in the order of the classes"
    )

    @model_validator(mode="after")
    def _some_weight(self) -> CrossEntropy:
        if self.class_weights is not None and not any(self.class_weights):
            raise ValueError("class_weights should hold at least one weight above 0")
        return self

    @override
    def check(self, task: Task, data_outputs: int) -> None:
        super().check(task, data_outputs)
        if self.class_weights is not None and len(self.class_weights) != data_outputs:
            raise DataError(
                f"loss cross_entropy has {len(self.class_weights)} class_weights; the data has {data_outputs} classes"
            )

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        import torch

        from nnopt import losses

        self.check(task, data_outputs)
        weights = None if self.class_weights is None else torch.tensor(self.class_weights, device=device)
        return losses.CrossEntropy(self.label_smoothing, weights)


class Bce(LossSpec):
    """Cross-entropy of a sigmoid: one output for two classes, one a class (one against the rest) for more."""

    formula: ClassVar[str] = "J = −1/(nk) · Σᵢ Σⱼ yᵢⱼ log σ(zᵢⱼ) + (1 − yᵢⱼ) log(1 − σ(zᵢⱼ))"
    needs_classes: ClassVar[bool] = True
    answers: ClassVar[Literal["values", "softmax", "sigmoid"]] = "sigmoid"

    kind: Literal["bce"]

    @override
    def model_outputs(self, task: Task, data_outputs: int) -> int:
        self.check(task, data_outputs)
        return 1 if data_outputs == 2 else data_outputs

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        from torch.nn.functional import binary_cross_entropy_with_logits

        from nnopt.losses import TwoClassCrossEntropy

        if self.model_outputs(task, data_outputs) == 1:
            return TwoClassCrossEntropy()
        return _component_loss(self, binary_cross_entropy_with_logits, task, data_outputs, device)


def _component_loss(spec: LossSpec, function: Any, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
    import torch

    from nnopt.losses import ComponentLoss

    spec.check(task, data_outputs)
    return ComponentLoss(function, torch.eye(data_outputs, device=device) if task == "classification" else None)


LOSSES = Kinds("loss", LossSpec, (Mse, Mae, Huber, CrossEntropy, Bce))
