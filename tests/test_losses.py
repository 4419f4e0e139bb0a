"""Losses against scikit-learn, scipy and their formulas; what L1 and L2 terms cover; what a spec refuses."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error
from torch import nn

from nnopt.errors import DataError
from nnopt.losses import Loss, penalised_names
from nnopt.spec.losses import LOSSES, LossSpec

SPECS: TypeAdapter[Any] = TypeAdapter(Annotated[LossSpec, LOSSES])


def spec(kind: str, **keys: Any) -> LossSpec:
    found: LossSpec = SPECS.validate_python({"kind": kind, **keys})
    return found


def build(task: str, data_outputs: int, kind: str, **keys: Any) -> Loss:
    return spec(kind, **keys).build(task, data_outputs, "cpu")  # type: ignore[arg-type]


def class_sample(n: int, outputs: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, outputs)) * 3, generator.integers(0, classes, n)


def value(loss: Loss, outputs: np.ndarray, targets: np.ndarray) -> float:
    found = loss(torch.from_numpy(outputs), torch.from_numpy(targets))
    assert found.shape == ()
    return float(found)


# Per kind: the mean over samples by numpy, of outputs [n, k] and targets as vectors [n, k].
def huber(outputs: np.ndarray, wanted: np.ndarray, delta: float) -> float:
    return float(scipy.special.huber(delta, outputs - wanted).mean())


def binary(outputs: np.ndarray, wanted: np.ndarray) -> float:
    p = scipy.special.expit(outputs)
    return float(-(wanted * np.log(p) + (1 - wanted) * np.log1p(-p)).mean())


TWINS: dict[str, list[tuple[dict[str, Any], Any]]] = {
    "mse": [({}, lambda z, y: mean_squared_error(y, z))],
    "mae": [({}, lambda z, y: mean_absolute_error(y, z))],
    "huber": [({}, lambda z, y: huber(z, y, 1.0)), ({"delta": 0.3}, lambda z, y: huber(z, y, 0.3))],
    "cross_entropy": [({}, lambda z, y: log_loss(y.argmax(1), scipy.special.softmax(z, 1), labels=range(4)))],
    "bce": [({}, binary)],
}
# These are built for a data set that was read: tests/train/test_multitask.py and the tests of synthetic data.
OF_THEIR_OWN_DATA = {"multitask", "objective"}


def test_every_kind_has_a_row_here() -> None:
    assert {*TWINS, *OF_THEIR_OWN_DATA} == set(LOSSES.named())


@pytest.mark.parametrize(("kind", "keys", "twin"), [(kind, *case) for kind, cases in TWINS.items() for case in cases])
def test_on_classes_against_independent_code(kind: str, keys: dict[str, Any], twin: Any) -> None:
    outputs, targets = class_sample(50, 4, 4)
    loss = build("classification", 4, kind, **keys)
    assert value(loss, outputs, targets) == pytest.approx(twin(outputs, np.eye(4)[targets]), rel=1e-6)
    assert spec(kind).model_outputs("classification", 4) == 4
    assert torch.equal(loss.scores(torch.from_numpy(outputs)), torch.from_numpy(outputs))


@pytest.mark.parametrize(
    ("kind", "keys", "twin"),
    [(kind, *case) for kind in ("mse", "mae", "huber") for case in TWINS[kind]],
)
def test_on_real_values_against_independent_code(kind: str, keys: dict[str, Any], twin: Any) -> None:
    outputs, targets = (np.random.default_rng(seed).normal(size=(50, 3)) for seed in (1, 2))
    loss = build("regression", 3, kind, **keys)
    assert value(loss, outputs, targets) == pytest.approx(twin(outputs, targets), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_weights_is_its_formula(smoothing: float) -> None:
    weights = [1, 0.0, 2.5, 4]
    outputs, targets = class_sample(40, 4, 4)
    loss = build("classification", 4, "cross_entropy", class_weights=weights, label_smoothing=smoothing)
    total = 0.0
    for z, y in zip(outputs, targets, strict=True):
        logs = z - np.log(np.exp(z).sum())
        for c in range(4):
            total -= weights[c] * ((1 - smoothing) * (c == y) + smoothing / 4) * logs[c]
    assert value(loss, outputs, targets) == pytest.approx(total / 40, rel=1e-6)


def test_two_classes_have_one_logit() -> None:
    assert spec("bce").model_outputs("classification", 2) == 1
    loss = build("classification", 2, "bce")
    outputs, targets = class_sample(60, 1, 2)
    p = scipy.special.expit(outputs[:, 0])
    assert value(loss, outputs, targets) == pytest.approx(log_loss(targets, p), rel=1e-6)
    scores = loss.scores(torch.from_numpy(outputs))
    assert torch.equal(scores.argmax(1), torch.from_numpy(outputs[:, 0] > 0).long())
    # Softmax over (0, z) is the sigmoid: the same loss as cross-entropy on these scores.
    twin = build("classification", 2, "cross_entropy")
    assert value(twin, scores.numpy(), targets) == pytest.approx(value(loss, outputs, targets), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(TWINS)),
    cut=st.integers(1, 29),
    seed=st.integers(0, 99),
    weighted=st.booleans(),
)
def test_the_loss_of_a_batch_is_the_weighted_mean_of_its_parts(kind: str, cut: int, seed: int, weighted: bool) -> None:
    keys = {"class_weights": [0.5, 3.0, 1.0]} if weighted and kind == "cross_entropy" else {}
    loss = build("classification", 3, kind, **keys)
    z, y = class_sample(30, 3, 3, seed)
    parts = cut * value(loss, z[:cut], y[:cut]) + (30 - cut) * value(loss, z[cut:], y[cut:])
    assert parts / 30 == pytest.approx(value(loss, z, y), rel=1e-9)


@pytest.mark.parametrize("kind", sorted(TWINS))
def test_half_precision_outputs_are_averaged_in_32_bits(kind: str) -> None:
    outputs, targets = (torch.from_numpy(part) for part in class_sample(2000, 4, 4))
    loss = build("classification", 4, kind)
    short = outputs.bfloat16()
    found = loss(short, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(short.float(), targets), rtol=0, atol=0)


@pytest.mark.parametrize("kind", sorted(TWINS))
def test_gradients_by_finite_differences(kind: str) -> None:
    outputs, targets = class_sample(5, 3, 3)
    loss = build("classification", 3, kind)
    z = torch.from_numpy(outputs).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, torch.from_numpy(targets)), z)


@pytest.mark.parametrize("kind", ["cross_entropy", "bce"])
def test_real_valued_targets_are_refused(kind: str) -> None:
    for ask in (
        lambda: spec(kind).check("regression", 1),
        lambda: spec(kind).model_outputs("regression", 1),
        lambda: build("regression", 1, kind),
    ):
        with pytest.raises(DataError, match=f"loss {kind} needs classes; this data has real-valued targets"):
            ask()


def test_class_weights_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(DataError, match="has 2 class_weights; the data has 3 classes"):
        build("classification", 3, "cross_entropy", class_weights=[1.0, 2.0])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"kind": "huber", "delta": 0}, "greater than 0"),
        ({"kind": "mse", "l2": -1e-3}, "greater than or equal to 0"),
        ({"kind": "mse", "l1": float("nan")}, "finite"),
        ({"kind": "mse", "delta": 1}, "unknown key 'delta'"),
        ({"kind": "cross_entropy", "label_smoothing": 1.0}, "less than 1"),
        ({"kind": "cross_entropy", "class_weights": [0, 0]}, "at least one weight above 0"),
        ({"kind": "cross_entropy", "class_weights": [1, -1]}, "greater than or equal to 0"),
        ({"kind": "crossentropy"}, "did you mean 'cross_entropy'?"),
    ],
)
def test_a_spec_refuses(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        SPECS.validate_python(keys)
    assert words in str(error.value)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.batch = nn.BatchNorm2d(2)
        self.group = nn.GroupNorm(1, 2)
        self.layer = nn.LayerNorm(4)
        self.recurrent = nn.GRU(4, 4)
        self.scale = nn.Parameter(torch.ones(3))
        self.dense = nn.Linear(4, 4)
        self.dense_again = nn.Linear(4, 4)
        self.dense_again.weight = self.dense.weight


def test_penalties_leave_out_biases_and_norms() -> None:
    model = Tied()
    weights = {
        "convolution.weight",
        "recurrent.weight_ih_l0",
        "recurrent.weight_hh_l0",
        "scale",
        "dense.weight",
    }
    assert penalised_names(model) == weights
    assert spec("mse").penalised(model) == weights
    assert spec("mse", penalise="all").penalised(model) == {name for name, _ in model.named_parameters()}
