"""The tally that suits a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nnopt.losses.classes import CrossEntropy
from nnopt.losses.components import ComponentLoss
from nnopt.losses.loss import Loss
from nnopt.metrics.classes import ClassTally
from nnopt.metrics.confidence import OF_PROBABILITIES, RANKED
from nnopt.metrics.function import FunctionTally
from nnopt.metrics.labels import LabelTally
from nnopt.metrics.language import OF_LIKELIHOOD, LanguageTally
from nnopt.metrics.questions import QuestionTally
from nnopt.metrics.rates import RATES, rate_names
from nnopt.metrics.regression import RegressionTally
from nnopt.metrics.tally import Tally


@dataclass(frozen=True, eq=False)
class Subject:
    """What a tally has to know of the data that it measures answers to.

    Attributes:
        task: classification, regression, multilabel, language, multitask or function.
        classes: how many classes, labels or tokens there are; 0 for numbers.
        target_mean: the value of real-valued targets that they are 0 at, a number or [d].
        target_scale: what one unit of real-valued targets is in the data, a number or [d].
        questions: for several questions, the name of each and how many classes it has (0 for a number).
        characters: for text, how many characters a token stands for, on the average.
        distance: for a function, what gives the distance [n] of places [n, d] to its nearest minimum.
    """

    task: str
    classes: int = 0
    target_mean: Tensor | float = 0.0
    target_scale: Tensor | float = 1.0
    questions: Sequence[tuple[str, int]] = ()
    characters: float = 1.0
    distance: Callable[[Tensor], Tensor] | None = None


def build_tally(names: Sequence[str], subject: Subject, loss: Loss, device: torch.device | str) -> Tally:
    """A tally of the metrics `names` (as in nnopt.spec.metric_names).

    Its result holds `loss`, then each name once, `<rate>_per_class` as one column a class.

    Raises:
        ValueError: a name that this tally does not have.
    """
    task, classes = subject.task, subject.classes
    if task == "multitask":
        return _of_questions(names, subject, loss, device)
    columns = _expanded(names, classes)
    known = _known(task, classes)
    if unknown := [name for name in columns if name not in known]:
        raise ValueError(f"no {task} metric is called {', '.join(unknown)}")
    if task == "classification":
        return ClassTally(columns, classes, loss, device)
    if task == "multilabel":
        return LabelTally(columns, classes, loss, device)
    if task == "language":
        return LanguageTally(columns, loss, subject.characters, device)
    if task == "function":
        assert subject.distance is not None
        return FunctionTally(columns, subject.distance, loss, device)
    return RegressionTally(columns, loss, subject.target_scale, subject.target_mean, device)


def _of_questions(names: Sequence[str], subject: Subject, loss: Loss, device: torch.device | str) -> Tally:
    asked: dict[str, list[str]] = {question: [] for question, _ in subject.questions}
    columns: list[str] = []
    for name in names:
        if name == "loss":
            continue
        question, columns_of_it = _addressed(name, subject.questions)
        asked[question] += columns_of_it
        columns += [f"{question}_{column}" for column in columns_of_it]
    tallies = {
        question: build_tally(asked[question], _alone(subject, column), _own_loss(classes), device)
        for column, (question, classes) in enumerate(subject.questions)
    }
    return QuestionTally(columns, loss, tallies, [classes or 1 for _, classes in subject.questions], device)


def _addressed(name: str, questions: Sequence[tuple[str, int]]) -> tuple[str, list[str]]:
    """The question that `name` begins with, and the columns of it that the rest names."""
    # The longest first: one question's name may begin with that of another.
    for question, classes in sorted(questions, key=lambda one: -len(one[0])):
        columns = _expanded([name.removeprefix(f"{question}_")], classes)
        if name.startswith(f"{question}_") and set(columns) <= _known(_task(classes), classes):
            return question, columns
    raise ValueError(f"no multitask metric is called {name}")


def _alone(subject: Subject, column: int) -> Subject:
    classes = subject.questions[column][1]
    mean, scale = (
        value[column] if isinstance(value, Tensor) and value.dim() else value
        for value in (subject.target_mean, subject.target_scale)
    )
    return Subject(_task(classes), classes, mean, scale)


def _own_loss(classes: int) -> Loss:
    return CrossEntropy() if classes else ComponentLoss(F.mse_loss, None)


def _task(classes: int) -> str:
    return "classification" if classes else "regression"


def _expanded(names: Sequence[str], classes: int) -> list[str]:
    each = {f"{rate}_per_class": [f"{rate}_class_{index}" for index in range(classes)] for rate in RATES}
    return [column for name in names for column in each.get(name, [name])]


def _known(task: str, classes: int) -> set[str]:
    top = {f"top{k}_accuracy" for k in range(1, classes + 1)}
    return {
        "classification": {"accuracy", *top, *OF_PROBABILITIES, *(rate_names(classes) if classes else ())},
        "multilabel": {"accuracy", "subset_accuracy", *RANKED, *(rate_names(classes) if classes else ())},
        "language": {"accuracy", *top, *OF_LIKELIHOOD},
        "regression": {"mse", "mae", "r2", "mape"},
        "function": {"distance"},
    }[task] | {"loss"}
