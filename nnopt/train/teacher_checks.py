"""Whether a trained network can teach a run: the same data, the same kind of answer, layers that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnopt.errors import UsageError
from nnopt.spec.data.base import DataSpec
from nnopt.spec.experiment import RunSettings
from nnopt.spec.identity import differing, resolved
from nnopt.spec.structure.distill import FeatureSpec
from nnopt.structure.distill.features import caught
from nnopt.train.setup import DRAWN

OUTPUTS = {
    "values": "values",
    "softmax": "logits of a softmax",
    "sigmoid": "logits of a sigmoid each",
    "questions": "answers to several questions",
}
FEATURES = "structure.distill.features"


def check_same_question(name: str, teacher: RunSettings, student: RunSettings) -> None:
    """Whether a teacher was trained on the data of the student, and its outputs mean the same.

    The split and the scale of the inputs are part of that: another split would have shown the teacher what the student
    is judged by. How samples are drawn and changed in training is not.

    Raises:
        UsageError: it was not.
    """
    theirs, ours = _rows(teacher.data), _rows(student.data)
    if theirs["kind"] != ours["kind"]:
        raise UsageError(
            f"{name} learned from {theirs['kind']}, and this run learns from {ours['kind']}: "
            "a teacher should know the same data and classes"
        )
    if theirs != ours:
        other, own = resolved(teacher.data), resolved(student.data)
        key = next(key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key))
        raise UsageError(
            f"{name} learned from {ours['kind']} with {key}: {other.get(key)}, and this run has {key}: {own.get(key)}: "
            "a teacher should know the same data, split and scaled the same"
        )
    if teacher.loss.answers != student.loss.answers:
        raise UsageError(
            f"{name} was trained with loss {teacher.loss.kind}, so its outputs are {OUTPUTS[teacher.loss.answers]}; "
            f"with loss {student.loss.kind} this run's are {OUTPUTS[student.loss.answers]}: take a loss of one kind"
        )


def _rows(data: DataSpec) -> dict[str, Any]:
    """What decides which samples there are, in which parts; how they are drawn and changed in training does not."""
    return {key: value for key, value in differing(data).items() if key not in DRAWN}


def same_rows(one: DataSpec, other: DataSpec) -> bool:
    """Whether two data sets have the same samples, maybe in other folds."""
    return _rows(one) == _rows(other)


def check_same_fold(name: str, teacher: DataSpec, student: DataSpec) -> None:
    """Raises UsageError where a teacher, on the data of its seed, learned from rows that a student is judged by."""
    if teacher.drawn_for != student.drawn_for:
        raise UsageError(
            f"{name} was validated on another fold of {student.kind}, so it learned from the rows that this "
            "run is judged by: take the run of the same seed, as in run: EXPERIMENT/VARIANT/seed-{seed}"
        )


def check_outputs(name: str, teacher: nn.Module, student: nn.Module, sample: Tensor) -> None:
    """Raises UsageError where two networks do not answer to `sample` [n, ...] with outputs of one shape."""
    try:
        theirs, ours = (list(_run(network, sample, ())[0].shape) for network in (teacher, student))
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UsageError(f"{name} cannot take this run's inputs of shape {list(sample.shape[1:])}: {reason}") from None
    if theirs != ours:
        raise UsageError(f"{name} gives outputs of shape {theirs[1:]}, and this run's are {ours[1:]}")


def check_layers(
    name: str, teacher: nn.Module, student: nn.Module, features: Sequence[FeatureSpec], sample: Tensor
) -> None:
    """Raises UsageError where layers that are to be matched are not there, or cannot be compared."""
    for index, feature in enumerate(features):
        _check_name(student, feature.student, f"{FEATURES}.{index}.student", "this run's network")
        _check_name(teacher, feature.teacher, f"{FEATURES}.{index}.teacher", name)
    _, ours = _run(student, sample, [feature.student for feature in features])
    _, theirs = _run(teacher, sample, [feature.teacher for feature in features])
    for index, feature in enumerate(features):
        here, there = ours.get(feature.student), theirs.get(feature.teacher)
        for output, layer in ((here, feature.student), (there, feature.teacher)):
            if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != len(sample):
                raise UsageError(f"{FEATURES}.{index}: layer {layer} gives no tensor with a row a sample: take another")
        assert here is not None
        assert there is not None
        if feature.match == "values" and here.shape != there.shape:
            raise UsageError(
                f"{FEATURES}.{index}: layer {feature.student} gives {list(here.shape[1:])} a sample and the teacher's "
                f"{feature.teacher} {list(there.shape[1:])}: values need one size, so take match: similarities"
            )


def _check_name(network: nn.Module, layer: str, key: str, whose: str) -> None:
    known = [name for name, _ in network.named_modules() if name]
    if layer not in known:
        shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise UsageError(f"{key}: {whose} has no layer '{layer}'; it has {shown}")


@torch.no_grad()
def _run(network: nn.Module, sample: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs of a network, and of its layers, in evaluation mode; the mode is as before afterwards."""
    was_training = network.training
    with caught(network.eval(), layers) as found:
        outputs: Tensor = network(sample)
    network.train(was_training)
    return outputs, found
