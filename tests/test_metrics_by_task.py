"""Metrics of probabilities, labels, text, functions and several questions, against scikit-learn and slow twins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.data.task import Question, Task
from nnopt.errors import UsageError
from nnopt.losses import (
    ComponentLoss,
    CrossEntropy,
    Loss,
    QuestionsLoss,
    SigmoidCrossEntropy,
    TwoClassCrossEntropy,
)
from nnopt.metrics.build import Subject, build_tally
from nnopt.metrics.confidence import OF_PROBABILITIES
from nnopt.spec.metric_names import (
    default_metrics,
    higher_is_better,
    is_share,
    known_metrics,
    metric_columns,
    parse_column,
    parse_metric,
)
from nnopt.structure.distill.answers import answers_named

SQUARED = ComponentLoss(F.mse_loss, None)
QUESTIONS = (Question("digit", tuple("abcd")), Question("ink"), Question("digit_odd", ("no", "yes")))
OF_QUESTIONS = QuestionsLoss([4, 1, 2], [False, True, False], [1.0, 0.5, 2.0])


def measured(
    names: Sequence[str],
    subject: Subject,
    loss: Loss,
    outputs: torch.Tensor,
    targets: torch.Tensor,
    chunk: int = 7,
) -> dict[str, float]:
    tally = build_tally(names, subject, loss, "cpu")
    for z, y in zip(outputs.split(chunk), targets.split(chunk), strict=True):
        tally.update(z, y)
    return tally.result()


def rounded(n: int, k: int, seed: int) -> torch.Tensor:
    """Scores of which many are equal."""
    return (torch.randn(n, k, generator=torch.Generator().manual_seed(seed)) * 2).round()


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Sample by sample and bin by bin, as in Guo et al. 2017."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for row, target in zip(probabilities, targets, strict=True):
        predicted = int(np.argmax(row))
        (place,) = (m for m in range(15) if m / 15 < row[predicted] <= (m + 1) / 15)
        bins[place].append((row[predicted], predicted == target))
    gaps = [abs(np.mean([sure for sure, _ in found]) - np.mean([hit for _, hit in found])) for found in bins if found]
    sizes = [len(found) for found in bins if found]
    return float(np.dot(gaps, sizes) / sum(sizes))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(12, 60), classes=st.integers(3, 6), chunk=st.integers(1, 60), seed=st.integers(0, 999))
def test_probabilities_of_many_classes_are_scikit_learn(n: int, classes: int, chunk: int, seed: int) -> None:
    outputs, targets = rounded(n, classes, seed), torch.arange(n) % classes
    found = measured(OF_PROBABILITIES, Subject("classification", classes), CrossEntropy(), outputs, targets, chunk)
    probabilities, y = outputs.double().softmax(1).numpy(), targets.numpy()
    one_hot = np.eye(classes)[y]
    assert found["roc_auc"] == pytest.approx(oracle.roc_auc_score(y, probabilities, multi_class="ovr"), abs=1e-12)
    assert found["average_precision"] == pytest.approx(oracle.average_precision_score(one_hot, probabilities))
    assert found["brier"] == pytest.approx(((probabilities - one_hot) ** 2).sum(1).mean())
    assert found["calibration_error"] == pytest.approx(calibration_error(probabilities, y), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 60), chunk=st.integers(1, 60), seed=st.integers(0, 999))
def test_two_classes_are_scikit_learn_with_one_logit_and_with_two(n: int, chunk: int, seed: int) -> None:
    logit, targets = rounded(n, 1, seed), torch.arange(n) % 2
    subject = Subject("classification", 2)
    one = measured(OF_PROBABILITIES, subject, TwoClassCrossEntropy(), logit, targets, chunk)
    both = torch.cat((torch.zeros_like(logit), logit), 1)
    two = measured(OF_PROBABILITIES, subject, CrossEntropy(), both, targets, chunk)
    probabilities, y = torch.sigmoid(logit.double())[:, 0].numpy(), targets.numpy()
    for found in (one, two):
        assert found["roc_auc"] == pytest.approx(oracle.roc_auc_score(y, probabilities), abs=1e-12)
        assert found["average_precision"] == pytest.approx(oracle.average_precision_score(y, probabilities))
        assert found["brier"] == pytest.approx(2 * oracle.brier_score_loss(y, probabilities))


def test_confidence_on_the_edge_of_a_bin_belongs_to_the_bin_below() -> None:
    """0.6 is the end of the ninth bin, (8/15, 9/15], in which 0.55 lies as well: one gap, not two."""
    loss = ComponentLoss(F.mse_loss, torch.eye(2))  # outputs are the probabilities themselves
    outputs = torch.tensor([[0.6, 0.4], [0.55, 0.45]], dtype=torch.float64)
    found = measured(["calibration_error"], Subject("classification", 2), loss, outputs, torch.tensor([0, 1]))
    assert found["calibration_error"] == pytest.approx(abs(0.6 - 1 + 0.55 - 0) / 2)


def test_a_class_without_targets_is_left_out_and_one_alone_is_worth_a_guess() -> None:
    outputs, targets = rounded(30, 4, 1), torch.arange(30) % 3
    names = ["roc_auc", "average_precision"]
    found = measured(names, Subject("classification", 4), CrossEntropy(), outputs, targets)
    probabilities = outputs.double().softmax(1).numpy()
    each = [oracle.roc_auc_score(targets.numpy() == c, probabilities[:, c]) for c in range(3)]
    assert found["roc_auc"] == pytest.approx(np.mean(each))
    nothing = torch.zeros(5, 3)
    found = measured(names, Subject("multilabel", 3), SigmoidCrossEntropy(None), rounded(5, 3, 2), nothing)
    assert (found["roc_auc"], found["average_precision"]) == (0.5, 0.0)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), labels=st.integers(2, 5), chunk=st.integers(1, 40), seed=st.integers(0, 999))
def test_labels_are_scikit_learn(n: int, labels: int, chunk: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, labels, generator=generator)
    targets = (torch.rand(n, labels, generator=generator) < 0.4).float()
    names = [name for name in known_metrics("multilabel") if name not in ("roc_auc", "average_precision")]
    found = measured(names, Subject("multilabel", labels), SigmoidCrossEntropy(None), outputs, targets, chunk)
    y, said = targets.numpy().astype(int), (outputs > 0).numpy().astype(int)
    expected = {
        "loss": float(F.binary_cross_entropy_with_logits(outputs.double(), targets.double())),
        "accuracy": (y == said).mean(),
        "subset_accuracy": oracle.accuracy_score(y, said),
    }
    functions = {"precision": oracle.precision_score, "recall": oracle.recall_score, "f1": oracle.f1_score}
    for rate, function in functions.items():
        for average in ("macro", "micro", "weighted"):
            expected[f"{rate}_{average}"] = function(y, said, average=average, zero_division=0)
        each = function(y, said, average=None, zero_division=0)
        expected |= {f"{rate}_class_{index}": value for index, value in enumerate(each)}
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_ranks_of_labels_are_scikit_learn() -> None:
    outputs = rounded(80, 3, 5)
    targets = (torch.rand(80, 3, generator=torch.Generator().manual_seed(6)) < 0.3).float()
    names = ["roc_auc", "average_precision"]
    found = measured(names, Subject("multilabel", 3), SigmoidCrossEntropy(None), outputs, targets)
    y, probabilities = targets.numpy(), torch.sigmoid(outputs.double()).numpy()
    assert found["roc_auc"] == pytest.approx(oracle.roc_auc_score(y, probabilities))
    assert found["average_precision"] == pytest.approx(oracle.average_precision_score(y, probabilities))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), columns=st.integers(1, 3), seed=st.integers(0, 999))
def test_percentage_errors_are_scikit_learn_where_no_target_is_0(n: int, columns: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    raw = generator.normal(size=(n, columns)) * 3 + 40
    mean, scale = np.full(columns, 35.0), np.full(columns, 4.0)
    targets = torch.from_numpy((raw - mean) / scale).float()
    outputs = targets + torch.from_numpy(generator.normal(size=(n, columns))).float()
    subject = Subject("regression", target_mean=torch.from_numpy(mean), target_scale=torch.from_numpy(scale))
    found = measured(["mape"], subject, SQUARED, outputs, targets)
    expected = oracle.mean_absolute_percentage_error(raw, outputs.double().numpy() * scale + mean)
    assert found["mape"] == pytest.approx(expected, rel=1e-4)


def test_percentage_errors_leave_out_targets_of_0() -> None:
    mean, scale = 10 / 3, 7.3
    raw = torch.tensor([[0.0], [10.0], [0.0], [-20.0]], dtype=torch.float64)
    targets = ((raw - mean) / scale).float()
    subject = Subject("regression", target_mean=mean, target_scale=scale)
    outputs = ((raw + 5 - mean) / scale).float()
    assert measured(["mape"], subject, SQUARED, outputs, targets)["mape"] == pytest.approx((5 / 10 + 5 / 20) / 2)
    nothing = measured(["mape"], subject, SQUARED, outputs[[0, 2]], targets[[0, 2]])
    assert nothing["mape"] == math.inf


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_perplexity_and_bits_are_of_the_true_tokens_alone(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, targets = (
        torch.randn(9, 6, 5, generator=generator),
        torch.randint(0, 5, (9, 6), generator=generator),
    )
    names = ["perplexity", "bits_per_character", "accuracy", "top3_accuracy"]
    loss = CrossEntropy(label_smoothing=smoothing)
    found = measured(names, Subject("language", 5, characters=2.5), loss, outputs, targets, chunk=4)
    logs = outputs.double().log_softmax(-1)
    surprise, hits, near = 0.0, 0, 0
    for row in range(9):
        for place in range(6):
            token = int(targets[row, place])
            surprise -= float(logs[row, place, token])
            order = logs[row, place].argsort(descending=True).tolist()
            hits, near = hits + (order[0] == token), near + (token in order[:3])
    assert found["perplexity"] == pytest.approx(math.exp(surprise / 54), rel=1e-5)
    assert found["bits_per_character"] == pytest.approx(surprise / 54 / math.log(2) / 2.5, rel=1e-5)
    assert (found["accuracy"], found["top3_accuracy"]) == pytest.approx((hits / 54, near / 54))
    flat = float(loss(outputs.flatten(0, 1), targets.flatten()))
    assert found["loss"] == pytest.approx(flat, rel=1e-6)


def test_questions_are_measured_as_if_each_were_asked_alone() -> None:
    generator = torch.Generator().manual_seed(4)
    outputs = torch.randn(50, 7, generator=generator)
    digit, odd = torch.randint(0, 4, (50,), generator=generator), torch.randint(0, 2, (50,), generator=generator)
    ink = torch.randn(50, generator=generator)
    targets = torch.stack((digit.float(), ink, odd.float()), dim=1)
    subject = Subject(
        "multitask",
        target_mean=torch.tensor([0.0, 20.0, 0.0]),
        target_scale=torch.tensor([1.0, 3.0, 1.0]),
        questions=[(question.name, len(question.classes)) for question in QUESTIONS],
    )
    names = [
        *("digit_loss", "digit_f1_macro", "ink_mae", "ink_mape", "ink_loss"),
        *("digit_odd_accuracy", "digit_odd_roc_auc", "digit_odd_loss", "digit_odd_recall_per_class"),
    ]
    found = measured(names, subject, OF_QUESTIONS, outputs, targets)
    assert tuple(found) == metric_columns(names, "multitask", 0, QUESTIONS)
    alone = measured(["f1_macro"], Subject("classification", 4), CrossEntropy(), outputs[:, :4], digit)
    assert (found["digit_loss"], found["digit_f1_macro"]) == (alone["loss"], alone["f1_macro"])
    numbers = Subject("regression", target_mean=20.0, target_scale=3.0)
    alone = measured(["mae", "mape"], numbers, SQUARED, outputs[:, 4:5], ink[:, None])
    assert [found[f"ink_{name}"] for name in ("loss", "mae", "mape")] == pytest.approx([*alone.values()], rel=1e-6)
    names, two = ["accuracy", "roc_auc", "recall_class_1"], Subject("classification", 2)
    alone = measured(names, two, CrossEntropy(), outputs[:, 5:], odd)
    for name, value in alone.items():
        assert found[f"digit_odd_{name}"] == value
    whole = found["digit_loss"] + 0.5 * found["ink_loss"] + 2 * found["digit_odd_loss"]
    assert found["loss"] == pytest.approx(whole, rel=1e-6)


def test_the_loss_of_several_questions_has_the_gradients_of_its_parts() -> None:
    outputs = torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    targets = torch.tensor([[row % 4, 0.5 * row, row % 2] for row in range(6)], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: OF_QUESTIONS(z, targets), outputs)


def test_several_answers_to_several_questions_are_the_mean_of_each() -> None:
    said = [torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)).double() for seed in range(3)]
    together = OF_QUESTIONS.answers(OF_QUESTIONS.together(said))
    each = [OF_QUESTIONS.answers(one) for one in said]
    for question, mean in enumerate(together):
        if question == 1:
            torch.testing.assert_close(mean, (each[0][1] + each[1][1] + each[2][1]) / 3)
        else:
            torch.testing.assert_close(mean.softmax(1), sum(one[question].softmax(1) for one in each) / 3)


def test_teachers_of_text_answer_at_every_place() -> None:
    said, learnt = (torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    answers = answers_named("softmax", 2.0)
    found = answers.distance(learnt, answers.targets([said]))
    p, q = (F.log_softmax(one.double() / 2, dim=-1) for one in (said, learnt))
    assert float(found) == pytest.approx(float(4 * (p.exp() * (p - q)).sum(-1).mean()), rel=1e-5)


def of_task(task: Task) -> tuple[Subject, Loss, torch.Tensor, torch.Tensor]:
    """A subject of some task, with its loss, and outputs and targets of nine samples."""
    if task == "multilabel":
        return Subject(task, 6), SigmoidCrossEntropy(None), torch.randn(9, 6), (torch.randn(9, 6) > 0).float()
    if task == "language":
        return Subject(task, 6), CrossEntropy(), torch.randn(9, 4, 6), torch.randint(0, 6, (9, 4))
    outputs = torch.randn(9, 2)
    return Subject(task, distance=lambda z: z.norm(dim=1)), SQUARED, outputs, torch.zeros(9, 2)


@pytest.mark.parametrize("task", ["multilabel", "language", "function"])
def test_every_known_name_is_measured_in_the_columns_that_were_announced(task: Task) -> None:
    names = [*known_metrics(task), *default_metrics(task)]
    found = measured(names, *of_task(task))
    assert tuple(found) == metric_columns(names, task, 6)
    for column, value in found.items():
        metric = parse_metric(column, task, 6)
        assert metric.lowest <= value <= metric.highest
        assert higher_is_better(f"val_{column}") == metric.higher_is_better
        assert is_share(f"test_{column}") == (metric.highest == 1.0 and metric.lowest == 0.0)
    with pytest.raises(ValueError, match=f"no {task} metric is called mse"):
        measured(["mse"], *of_task(task))


def test_what_is_usual_of_questions() -> None:
    assert metric_columns(default_metrics("multitask"), "multitask", 0, QUESTIONS) == (
        *("loss", "digit_loss", "digit_accuracy", "ink_loss", "ink_mse", "ink_mae", "ink_r2"),
        *("digit_odd_loss", "digit_odd_accuracy"),
    )
    for column in ("val_digit_accuracy", "val_ink_r2", "test_digit_odd_roc_auc", "val_digit_f1_class_2"):
        assert higher_is_better(column)
    assert not higher_is_better("val_digit_calibration_error")
    assert is_share("val_digit_accuracy")
    assert not is_share("val_ink_mae")


@pytest.mark.parametrize(
    ("name", "task", "questions", "words"),
    [
        ("perplexity", "classification", (), "'perplexity' is for language, and this data is for classification"),
        ("roc_auc", "regression", (), "is for classification and multilabel, and this data is for regression"),
        ("f1_class_3", "multilabel", (), "the data has labels 0 to 2"),
        ("digit_accuracy", "classification", (), "no metric is called 'digit_accuracy'"),
        ("accuracy", "multitask", QUESTIONS, "<question>_<metric>, the questions being digit, ink, digit_odd"),
        ("digt_accuracy", "multitask", QUESTIONS, "did you mean 'digit_accuracy'?"),
        ("ink_accuracy", "multitask", QUESTIONS, "question ink: metric 'accuracy' is for"),
        (
            "digit_f1_class_4",
            "multitask",
            QUESTIONS,
            "question digit: metric 'f1_class_4': the data has",
        ),
        ("digit_odd_top2_accuracy", "multitask", QUESTIONS, "question digit_odd: metric 'top2_accuracy' is always 1"),
        ("parity", "multitask", (), "it is <question>_<metric>"),
        ("usual", "language", (), "is for multitask"),
    ],
)
def test_names_that_do_not_exist(name: str, task: Any, questions: Any, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_metric(name, task, 3, questions)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_questions_are_known_by_their_names_before_the_data_is_read() -> None:
    names = {question.name: question.task for question in QUESTIONS}
    assert parse_metric("digit_odd_accuracy", "multitask", None, names).question == "digit_odd"
    assert parse_metric("ink_mae", "multitask", None, names).measure == "mae"
    assert parse_metric("any_f1_macro", "multitask").question == "any"
    part, metric = parse_column("val_digit_odd_recall_class_1", "multitask", None, names)
    assert (part, metric.question, metric.number) == ("val", "digit_odd", 1)
    for column, words in {
        "val_usual": "name one, as val_<question>_accuracy",
        "val_digit_f1_per_class": "name one, as val_digit_f1_class_0",
    }.items():
        with pytest.raises(UsageError, match=words):
            parse_column(column, "multitask", None, names)
