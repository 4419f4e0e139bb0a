"""A network's outputs in the words and units of its data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnopt.data.dataset import Dataset
from nnopt.losses.loss import Loss

# A column of answers: texts or numbers, one a sample.
Column = Sequence[str | float | int]


def answer_columns(outputs: Tensor, loss: Loss, meaning: str, data: Dataset) -> dict[str, Column]:
    """The answers to samples, by column.

    Args:
        outputs: [n, k] float32, of the network.
        loss: what it was trained with.
        meaning: what the outputs are to that loss: "values", "softmax" or "sigmoid".
        data: what it was trained on, for names, units and questions.
    """
    if data.questions:
        return _of_questions(outputs, data)
    if data.task == "classification":
        return _of_classes("prediction", loss.scores(outputs), meaning, data.classes)
    if data.task == "multilabel":
        return _of_labels(loss.probabilities(outputs), data.classes)
    values = outputs.double() * data.target_scale.cpu().double() + data.target_mean.cpu().double()
    if values.shape[1] == 1:
        return {"prediction": values[:, 0].tolist()}
    return {f"prediction_{index}": column.tolist() for index, column in enumerate(values.T)}


def _of_classes(name: str, scores: Tensor, meaning: str, classes: Sequence[str], of: str = "") -> dict[str, Column]:
    """The class with the highest score, and where scores stand for probabilities those of all classes."""
    found: dict[str, Column] = {name: [classes[index] for index in scores.argmax(1).tolist()]}
    if meaning == "values":
        return found
    # Of two classes with one logit z between them, the scores are 0 and z.
    one_of_all = meaning == "softmax" or len(classes) == 2
    shares = torch.softmax(scores, 1) if one_of_all else torch.sigmoid(scores)
    return found | {f"p_{of}{label}": column.tolist() for label, column in zip(classes, shares.T, strict=True)}


def _of_labels(shares: Tensor, labels: Sequence[str]) -> dict[str, Column]:
    """For each label whether it is there, then how probable it is."""
    there = {label: (column > 0.5).int().tolist() for label, column in zip(labels, shares.T, strict=True)}
    return there | {f"p_{label}": column.tolist() for label, column in zip(labels, shares.T, strict=True)}


def _of_questions(outputs: Tensor, data: Dataset) -> dict[str, Column]:
    """The answers to each question, under its name."""
    columns: dict[str, Column] = {}
    parts = torch.split(outputs, [question.outputs for question in data.questions], dim=1)
    for index, (question, part) in enumerate(zip(data.questions, parts, strict=True)):
        if question.classes:
            columns |= _of_classes(question.name, part, "softmax", question.classes, f"{question.name}_")
        else:
            values = part[:, 0].double() * float(data.target_scale[index]) + float(data.target_mean[index])
            columns[question.name] = values.tolist()
    return columns
