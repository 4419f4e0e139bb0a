"""Losses of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import override

from nnopt.data.task import Task
from nnopt.errors import DataError
from nnopt.spec.base import Items, Kinds, show
from nnopt.spec.loss_base import Answers, LossSpec
from nnopt.spec.nearest import nearest
from nnopt.spec.point import Objective

__all__ = ["LOSSES", "LossSpec"]

if TYPE_CHECKING:
    import torch

    from nnopt.data.dataset import Dataset
    from nnopt.losses.loss import Loss


BALANCED = "class_weights: balanced"

_Weights = Items[Annotated[float, Field(ge=0)]]
_LISTS: TypeAdapter[Any] = TypeAdapter(_Weights, config=ConfigDict(strict=True))


def _weights(value: Any, _handler: ValidatorFunctionWrapHandler) -> Any:
    if value is None or value == "balanced":
        return value
    if isinstance(value, str):
        raise PydanticCustomError("weights", f"should be a list of weights, or balanced, not {show(value)}")
    return _LISTS.validate_python(value)


class Mse(LossSpec):
    """Mean squared error; on classes, against one-hot vectors (the quadratic cost)."""

    formula: ClassVar[str] = "J = 1/(nd) · Σᵢ Σⱼ (zᵢⱼ − yᵢⱼ)²"
    also_for: ClassVar[tuple[Task, ...]] = ("multilabel",)

    kind: Literal["mse"]

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        from torch.nn.functional import mse_loss

        return _component_loss(self, mse_loss, task, data_outputs, device)


class Mae(LossSpec):
    """Mean absolute error; on classes, against one-hot vectors."""

    formula: ClassVar[str] = "J = 1/(nd) · Σᵢ Σⱼ |zᵢⱼ − yᵢⱼ|"
    also_for: ClassVar[tuple[Task, ...]] = ("multilabel",)

    kind: Literal["mae"]

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        from torch.nn.functional import l1_loss

        return _component_loss(self, l1_loss, task, data_outputs, device)


class Huber(LossSpec):
    """Squared for small errors, linear beyond delta; on classes, against one-hot vectors."""

    formula: ClassVar[str] = "J = mean of e²/2 where |e| ≤ δ, else δ(|e| − δ/2), with e = z − y"
    source: ClassVar[str] = "Huber 1964, Robust Estimation of a Location Parameter"
    also_for: ClassVar[tuple[Task, ...]] = ("multilabel",)

    kind: Literal["huber"]
    delta: float = Field(1.0, gt=0, description="the error where squared turns into linear (targets standardised)")

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        from functools import partial

        from torch.nn.functional import huber_loss

        return _component_loss(self, partial(huber_loss, delta=self.delta), task, data_outputs, device)


class CrossEntropy(LossSpec):
    """Cross-entropy of softmax and the class, or the next token, with label smoothing and class weights."""

    formula: ClassVar[str] = (
        "J = −1/n · Σᵢ Σ_c w_c q_ic log softmax(zᵢ)_c, q_ic = (1 − s)[c = yᵢ] + s/K; "
        "divided by n, not by Σ w as in torch"
    )
    source: ClassVar[str] = "label smoothing: Szegedy et al. 2015, arXiv:1512.00567"
    needs_classes: ClassVar[bool] = True
    answers: ClassVar[Answers] = "softmax"
    also_for: ClassVar[tuple[Task, ...]] = ("language",)

    kind: Literal["cross_entropy"]
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share s of the target spread over all classes")
    class_weights: Annotated[_Weights | Literal["balanced"] | None, WrapValidator(_weights)] = Field(
        None,
        description="a weight a class, in the order of the classes; balanced: n / (K·n_c) of the n_c training samples "
        "that each of the K classes has",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> CrossEntropy:
        if self.class_weights is not None and not any(self.class_weights):
            raise ValueError("class_weights should hold at least one weight above 0")
        return self

    @override
    def check(self, task: Task, data_outputs: int) -> None:
        super().check(task, data_outputs)
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != data_outputs:
            raise DataError(
                f"loss cross_entropy has {len(self.class_weights)} class_weights; the data has {data_outputs} classes"
            )

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        import torch

        from nnopt import losses

        self.check(task, data_outputs)
        if self.class_weights == "balanced":
            raise DataError(f"loss.{BALANCED} is counted in the data set: build the loss by build_for")
        weights = None if self.class_weights is None else torch.tensor(self.class_weights, device=device)
        return losses.CrossEntropy(self.label_smoothing, weights)

    @override
    def build_for(self, data: Dataset, device: torch.device | str) -> Loss:
        from nnopt import losses
        from nnopt.data.balance import class_weights

        if self.class_weights != "balanced":
            return super().build_for(data, device)
        self.check(data.task, data.outputs)
        return losses.CrossEntropy(self.label_smoothing, class_weights(f"loss.{BALANCED}", data).to(device))


class Bce(LossSpec):
    """Cross-entropy of a sigmoid: one output a label, one for two classes, one a class (against the rest) for more."""

    formula: ClassVar[str] = "J = −1/(nk) · Σᵢ Σⱼ yᵢⱼ log σ(zᵢⱼ) + (1 − yᵢⱼ) log(1 − σ(zᵢⱼ))"
    needs_classes: ClassVar[bool] = True
    answers: ClassVar[Answers] = "sigmoid"
    also_for: ClassVar[tuple[Task, ...]] = ("multilabel",)

    kind: Literal["bce"]
    class_weights: Literal["balanced"] | None = Field(
        None,
        description="balanced: for each output n / (2·n_y), of the n_y training samples whose answer y is yes, or no",
    )

    @override
    def model_outputs(self, task: Task, data_outputs: int) -> int:
        self.check(task, data_outputs)
        return 1 if task == "classification" and data_outputs == 2 else data_outputs

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        self.check(task, data_outputs)
        if self.class_weights is not None:
            raise DataError(f"loss.{BALANCED} is counted in the data set: build the loss by build_for")
        return self._built(task, data_outputs, device, None)

    @override
    def build_for(self, data: Dataset, device: torch.device | str) -> Loss:
        from nnopt.data.balance import yes_no_weights

        self.check(data.task, data.outputs)
        weights = None if self.class_weights is None else yes_no_weights(f"loss.{BALANCED}", data).to(device)
        return self._built(data.task, data.outputs, device, weights)

    def _built(self, task: Task, data_outputs: int, device: torch.device | str, weights: torch.Tensor | None) -> Loss:
        import torch

        from nnopt.losses import SigmoidCrossEntropy, TwoClassCrossEntropy

        if task == "classification" and data_outputs == 2:
            return TwoClassCrossEntropy(weights)
        one_hot = torch.eye(data_outputs, device=device) if task == "classification" else None
        return SigmoidCrossEntropy(one_hot, weights)


class Multitask(LossSpec):
    """The weighted sum over several questions: cross-entropy where one asks for a class, squared error for a number."""

    formula: ClassVar[str] = "J = Σ_q w_q J_q, J_q = −1/n · Σᵢ log softmax(z_iq)_y or 1/n · Σᵢ (z_iq − y_iq)²"
    source: ClassVar[str] = "Caruana 1997, Multitask Learning"
    answers: ClassVar[Answers] = "questions"
    also_for: ClassVar[tuple[Task, ...]] = ("multitask",)

    kind: Literal["multitask"]
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="w, a weight a question; 1 for those not named, 0 for one that is measured and not learnt"
    )

    @override
    def check(self, task: Task, data_outputs: int) -> None:
        if task != "multitask":
            raise DataError("loss multitask is for several questions about a sample; this data asks one")

    @override
    def build(self, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
        self.check(task, data_outputs)
        raise DataError("loss multitask takes its questions from the data set: build it by build_for")

    @override
    def build_for(self, data: Dataset, device: torch.device | str) -> Loss:
        from nnopt.losses import QuestionsLoss

        self.check(data.task, data.outputs)
        names = [question.name for question in data.questions]
        self.check_names(names)
        weights = [self.weights.get(name, 1.0) for name in names]
        if not any(weights):
            raise DataError("loss.weights: every question has the weight 0, so that nothing is learnt")
        numbers = [question.task == "regression" for question in data.questions]
        return QuestionsLoss([question.outputs for question in data.questions], numbers, weights)

    def check_names(self, questions: Sequence[str]) -> None:
        """Raises DataError where a weight is for none of these questions."""
        for name in self.weights:
            if name not in questions:
                raise DataError(
                    f"loss.weights: no question is called '{name}'{nearest(name, questions)}; "
                    f"there are {', '.join(questions)}"
                )


def _component_loss(spec: LossSpec, function: Any, task: Task, data_outputs: int, device: torch.device | str) -> Loss:
    import torch

    from nnopt.losses import ComponentLoss

    spec.check(task, data_outputs)
    return ComponentLoss(function, torch.eye(data_outputs, device=device) if task == "classification" else None)


LOSSES = Kinds("loss", LossSpec, (Mse, Mae, Huber, CrossEntropy, Bce, Multitask, Objective))
