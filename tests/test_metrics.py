"""Metrics against scikit-learn, whatever the chunks; their names, columns and directions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.errors import UsageError
from nnopt.losses import ComponentLoss, CrossEntropy, TwoClassCrossEntropy
from nnopt.metrics.build import Subject, build_tally
from nnopt.metrics.classes import ClassTally
from nnopt.metrics.confidence import OF_PROBABILITIES
from nnopt.spec.metric_names import (
    default_metrics,
    higher_is_better,
    known_metrics,
    metric_columns,
    parse_column,
    parse_metric,
)

SQUARED = ComponentLoss(F.mse_loss, None)


def class_result(
    names: list[str], outputs: torch.Tensor, targets: torch.Tensor, classes: int, chunk: int = 7
) -> dict[str, float]:
    tally = build_tally(names, Subject("classification", classes), CrossEntropy(), "cpu")
    for z, y in zip(outputs.split(chunk), targets.split(chunk), strict=True):
        tally.update(z, y)
    return tally.result()


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60), classes=st.integers(2, 6), present=st.integers(1, 6), chunk=st.integers(1, 60),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_classification_is_scikit_learn(n: int, classes: int, present: int, chunk: int, seed: int) -> None:
    """`present` < `classes` leaves classes without targets, and often without predictions."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, classes, generator=generator)
    outputs[:, present:] -= 3
    targets = torch.randint(0, min(present, classes), (n,), generator=generator)
    names = [name for name in known_metrics("classification") if name not in ("top5_accuracy", *OF_PROBABILITIES)]
    found = class_result(names, outputs, targets, classes, chunk)

    y, predicted = targets.numpy(), outputs.argmax(1).numpy()
    expected = {
        "loss": float(F.cross_entropy(outputs.double(), targets)),
        "accuracy": oracle.accuracy_score(y, predicted),
    }
    functions = {
        "precision": oracle.precision_score,
        "recall": oracle.recall_score,
        "f1": oracle.f1_score,
    }
    for rate, function in functions.items():
        for average in ("macro", "micro", "weighted"):
            expected[f"{rate}_{average}"] = function(y, predicted, average=average, zero_division=0)
        each = function(y, predicted, average=None, labels=range(classes), zero_division=0)
        expected |= {f"{rate}_class_{index}": value for index, value in enumerate(each)}
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)  # a loss near 0 is a difference of outputs in fp32


@pytest.mark.parametrize("chunk", [3, 100])
def test_top_k_is_scikit_learn(chunk: int) -> None:
    outputs = torch.randn(100, 7, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(100) % 7
    found = class_result(["top3_accuracy", "top1_accuracy", "accuracy", "top5_accuracy"], outputs, targets, 7, chunk)
    for k in (1, 3, 5):
        expected = oracle.top_k_accuracy_score(targets.numpy(), outputs.numpy(), k=k)
        assert found[f"top{k}_accuracy"] == pytest.approx(expected, abs=1e-12)
    assert found["top1_accuracy"] == found["accuracy"]


def test_a_model_without_an_opinion_has_no_top_k_for_free() -> None:
    """All scores equal: k of the classes are taken, not all; the same where all are NaN."""
    targets = torch.arange(100) % 10
    for constant in (0.0, math.nan):
        found = class_result(["accuracy", "top3_accuracy"], torch.full((100, 10), constant), targets, 10)
        assert found["accuracy"] == pytest.approx(0.1)
        assert found["top3_accuracy"] == pytest.approx(0.3)


def test_confusion_is_scikit_learn() -> None:
    outputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(2))
    targets = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(3))
    tally = build_tally([], Subject("classification", 4), CrossEntropy(), "cpu")
    assert isinstance(tally, ClassTally)
    for z, y in zip(outputs.split(33), targets.split(33), strict=True):
        tally.update(z, y)
    assert tally.confusion() == oracle.confusion_matrix(targets.numpy(), outputs.argmax(1).numpy()).tolist()
    assert list(tally.result()) == ["loss"]


def test_one_logit_for_two_classes() -> None:
    outputs = torch.tensor([[2.0], [-1.0], [0.5], [-3.0]])
    targets = torch.tensor([1, 1, 0, 0])
    tally = build_tally(["accuracy", "recall_class_1"], Subject("classification", 2), TwoClassCrossEntropy(), "cpu")
    tally.update(outputs, targets)
    assert tally.result() == pytest.approx(
        {"loss": float(TwoClassCrossEntropy()(outputs, targets)), "accuracy": 0.5, "recall_class_1": 0.5}
    )


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 50), columns=st.integers(1, 3), chunk=st.integers(1, 50), seed=st.integers(0, 999))
def test_regression_is_scikit_learn_in_the_units_of_the_data(n: int, columns: int, chunk: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Raw values far from zero, standardised as a data set does.
    raw = generator.normal(size=(n, columns)) * 77 + 150
    mean, scale = raw.mean(0), raw.std(0)
    targets = torch.from_numpy((raw - mean) / scale).float()
    outputs = targets + torch.from_numpy(generator.normal(size=(n, columns))).float()
    predicted = outputs.double().numpy() * scale + mean
    tally = build_tally(
        ["mse", "mae", "r2"], Subject("regression", target_scale=torch.from_numpy(scale)), SQUARED, "cpu"
    )
    for z, y in zip(outputs.split(chunk), targets.split(chunk), strict=True):
        tally.update(z, y)
    expected = {
        "loss": oracle.mean_squared_error(targets.numpy(), outputs.numpy()),
        "mse": oracle.mean_squared_error(raw, predicted),
        "mae": oracle.mean_absolute_error(raw, predicted),
        "r2": oracle.r2_score(raw, predicted),
    }
    found = tally.result()
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_r2_of_equal_targets_is_scikit_learn() -> None:
    for error, n in ((0.0, 51), (0.5, 51), (0.5, 1)):  # 51: the sums of 0.1 differ in the last bit
        targets = torch.full((n, 1), 0.1)
        tally = build_tally(["r2"], Subject("regression", target_scale=3.0), SQUARED, "cpu")
        for z, y in zip((targets + error).split(60), targets.split(60), strict=True):
            tally.update(z, y)
        expected = 1.0 if error == 0 else 0.0
        assert tally.result()["r2"] == expected
        if n > 1:
            assert oracle.r2_score(targets.numpy(), (targets + error).numpy()) == expected


def test_the_loss_is_the_mean_over_samples_not_chunks() -> None:
    outputs = torch.tensor([[0.0], [0.0], [3.0]])
    tally = build_tally([], Subject("regression"), SQUARED, "cpu")
    tally.update(outputs[:2], torch.zeros(2, 1))
    tally.update(outputs[2:], torch.zeros(1, 1))
    assert tally.result() == {"loss": 3.0}


def test_many_samples_keep_their_digits() -> None:
    """A sum in 32 bits stays at 2²⁴ when 1 is added."""
    tally = build_tally([], Subject("regression"), ComponentLoss(F.l1_loss, None), "cpu")
    for error in (2.0**24, *[1.0] * 1000):
        tally.update(torch.full((1, 1), error), torch.zeros(1, 1))
    assert tally.result()["loss"] == (2**24 + 1000) / 1001


def test_a_tally_builds_no_graph_and_refuses_to_read_nothing() -> None:
    tally = build_tally(["accuracy"], Subject("classification", 3), CrossEntropy(), "cpu")
    with pytest.raises(ValueError, match="at least one sample"):
        tally.result()
    tally.update(torch.zeros(2, 3, requires_grad=True), torch.zeros(2, dtype=torch.int64))
    assert not tally._loss_sum.requires_grad


@pytest.mark.parametrize(("task", "name"), [("classification", "mse"), ("regression", "accuracy"), ("regression", "x")])
def test_a_tally_refuses_names_it_does_not_have(task: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"no {task} metric is called {name}"):
        build_tally([name], Subject(task, 3), CrossEntropy(), "cpu")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_known_name_is_measured_in_the_columns_that_were_announced(task: Any) -> None:
    names = [*known_metrics(task), *default_metrics(task)]
    outputs, targets = torch.randn(9, 6), torch.randn(9, 6)
    loss: Any = SQUARED
    if task == "classification":
        loss, targets = CrossEntropy(), torch.arange(9) % 6
    tally = build_tally(names, Subject(task, 6), loss, "cpu")
    tally.update(outputs, targets)
    found = tally.result()
    assert tuple(found) == metric_columns(names, task, 6)
    for column, value in found.items():
        metric = parse_metric(column, task, 6)
        assert metric.columns(6) == (column,)
        assert metric.lowest <= value <= metric.highest
        assert higher_is_better(f"val_{column}") == metric.higher_is_better


@pytest.mark.parametrize(
    "column",
    [
        "accuracy",
        "val_accuracy",
        "test_top5_accuracy",
        "val_f1_macro",
        "val_f1_class_12",
        "train_recall_weighted",
        "val_r2",
        "precision_micro",
        "samples_per_second",
    ],
)
def test_more_is_better(column: str) -> None:
    assert higher_is_better(column)


@pytest.mark.parametrize(
    "column",
    [
        "loss",
        "train_loss",
        "val_loss",
        "val_mse",
        "test_mae",
        "generalisation_gap",
        "train_seconds",
        "steps",
        "gradient_evaluations",
        "memory_peak_bytes",
        "grad_norm",
        "lr",
        "parameters",
        "inaccuracy",
        "r20",
    ],
)
def test_less_is_better(column: str) -> None:
    assert not higher_is_better(column)


@pytest.mark.parametrize(
    ("name", "task", "classes", "words"),
    [
        ("acuracy", "classification", None, "did you mean 'accuracy'?"),
        ("val_accuracy", "classification", None, "did you mean 'accuracy'?"),
        ("f1", "classification", None, "no metric is called 'f1'"),
        ("f1_makro", "classification", None, "did you mean 'f1_macro'?"),
        ("top0_accuracy", "classification", None, "no metric is called 'top0_accuracy'"),
        ("f1_class_01", "classification", None, "no metric is called"),
        ("mse", "classification", None, "'mse' is for regression, and this data is for classification"),
        ("accuracy", "regression", None, "known: loss, mse, mae, r2"),
        ("top5_accuracy", "classification", 3, "the data has 3 classes"),
        ("f1_class_3", "classification", 3, "the data has classes 0 to 2"),
    ],
)
def test_names_that_do_not_exist(name: str, task: Any, classes: int | None, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_metric(name, task, classes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_have_a_part_and_a_metric() -> None:
    part, metric = parse_column("val_f1_class_2", "classification", 3)
    assert (part, metric.measure, metric.number, metric.higher_is_better) == ("val", "f1", 2, True)
    assert parse_column("test_loss", "regression")[1].highest == math.inf
    for column, words in {
        "accuracy": "did you mean 'val_accuracy'?",
        "val_f1_per_class": "val_f1_class_0",
        "val_mse": "is for regression",
    }.items():
        with pytest.raises(UsageError) as error:
            parse_column(column, "classification", 3)
        assert words in str(error.value)
