"""Several questions about one sample, and labels of which it has any number: through the command line on tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended
from sklearn.datasets import load_digits

from nnopt.spec.merge import merge

pytestmark = pytest.mark.usefixtures("undrawn")

QUESTIONS = ["digit", "digit_odd", "ink"]
LABELS = ["odd", "large", "round"]
BASE: dict[str, Any] = {
    "optimizer": {"kind": "adam", "lr": 0.01},
    "budget": {"epochs": 6},
    "strategy": {"batch_size": 16},
    "device": "cpu",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 digits: their 64 pixels, the digit, whether it is odd, its ink, and three labels."""
    images, digits = load_digits(return_X_y=True)
    path = tmp_path_factory.mktemp("tables") / "digits.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"pixel{index}" for index in range(64)), *QUESTIONS, *LABELS])
        for pixels, digit in zip(images[:400].astype(int), digits[:400].tolist(), strict=True):
            odd, ink = digit % 2, pixels.sum()
            labels = [odd, int(digit >= 5), int(digit in (0, 6, 8, 9))]
            writer.writerow([*pixels, digit, "yes" if odd else "no", ink, *labels])
    return path


def several(table: Path, **changes: Any) -> dict[str, Any]:
    """The change that asks several questions."""
    data = {"kind": "csv", "path": str(table), "task": "multitask", "target": QUESTIONS, "leave_out": LABELS}
    asked = {"data": {**data, "categorical": ["digit", "digit_odd"]}, "loss": {"kind": "multitask"}}
    return merge(merge(BASE, asked), changes)


def labelled(table: Path, **changes: Any) -> dict[str, Any]:
    """The change that asks for labels."""
    data = {"kind": "csv", "path": str(table), "task": "multilabel", "target": LABELS, "leave_out": QUESTIONS}
    return merge(merge(BASE, {"data": data, "loss": {"kind": "bce"}}), changes)


def curve(runs: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv of the run with seed 0."""
    (path,) = runs.glob("small/*/seed-0/metrics.csv")
    return [
        {name: float(value) for name, value in row.items() if value}
        for row in csv.DictReader(path.read_text().splitlines())
    ]


def test_one_network_answers_several_questions(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, table: Path
) -> None:
    weights = {"ink": 0.5, "digit_odd": 2.0}
    evaluation = {"metrics": ["usual", "digit_odd_roc_auc", "digit_calibration_error", "ink_mape"]}
    target = {"metric": "val_digit_accuracy", "value": 0.5}
    changes = {"loss": {"weights": weights}, "evaluation": {**evaluation, "select": "val_ink_mae", "target": target}}
    cli("train", write_spec(several(table, **changes)), "--quiet")
    rows = curve(runs)
    for row in (rows[0], rows[-1]):
        whole = row["val_digit_loss"] + 2 * row["val_digit_odd_loss"] + 0.5 * row["val_ink_loss"]
        assert row["val_loss"] == pytest.approx(whole, rel=1e-5)
    last = rows[-1]
    assert last["val_loss"] < 0.5 * rows[0]["val_loss"]
    assert last["val_digit_accuracy"] > 0.7
    assert last["val_digit_odd_roc_auc"] > last["val_digit_odd_accuracy"] > 0.8
    assert 0 < last["val_digit_calibration_error"] < 0.5
    # In the units of the table: an 8x8 digit has about 313 ± 50 of ink.
    assert 2 < last["val_ink_mae"] < 40
    assert last["val_ink_mae"] / 400 < last["val_ink_mape"] < last["val_ink_mae"] / 200
    (summary,) = (json.loads(path.read_text()) for path in runs.glob("small/*/seed-0/summary.json"))
    assert summary["task"] == "multitask"
    assert summary["metrics"]["val_ink_mae"]["best"] == min(row["val_ink_mae"] for row in rows)
    assert summary["metrics"]["val_digit_odd_roc_auc"]["best"] == max(row["val_digit_odd_roc_auc"] for row in rows)
    assert summary["metrics"]["val_digit_calibration_error"]["best"] <= last["val_digit_calibration_error"]


def test_a_question_of_weight_0_is_measured_and_not_learnt(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, table: Path
) -> None:
    changes = {"loss": {"weights": {"ink": 0, "digit_odd": 0}}, "model": {"kind": "linear"}}
    cli("train", write_spec(several(table, **changes)), "--quiet")
    first, *_, last = curve(runs)
    assert last["val_loss"] == pytest.approx(last["val_digit_loss"], rel=1e-5)
    assert last["val_digit_loss"] < 0.6 * first["val_digit_loss"]
    assert last["val_ink_mae"] == first["val_ink_mae"]


def test_labels_are_answered_each_by_itself(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, table: Path
) -> None:
    metrics = ["accuracy", "subset_accuracy", "f1_macro", "f1_micro", "f1_per_class", "roc_auc", "average_precision"]
    cli("train", write_spec(labelled(table, evaluation={"metrics": metrics, "select": "val_f1_macro"})), "--quiet")
    rows = curve(runs)
    last = rows[-1]
    assert last["val_loss"] < 0.5 * rows[0]["val_loss"]
    assert last["val_subset_accuracy"] < last["val_accuracy"]
    assert min(last[f"val_{name}"] for name in ("accuracy", "f1_micro", "roc_auc", "average_precision")) > 0.8
    assert last["val_f1_macro"] == pytest.approx(sum(last[f"val_f1_class_{index}"] for index in range(3)) / 3)


def test_a_network_of_several_questions_is_pruned_by_its_gradients(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, table: Path
) -> None:
    structure = {"prune": {"kind": "gradient", "amount": 0.5, "samples": 100}}
    cli("train", write_spec(several(table, structure=structure)), "--quiet")
    first, *_, last = curve(runs)
    assert last["val_loss"] < first["val_loss"]


def test_labels_are_learnt_from_a_teacher(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], runs: Path, table: Path
) -> None:
    variants = {
        "large": {"model": {"hidden": [32]}},
        "small": {"structure": {"distill": {"teachers": [{"run": "small/large/seed-{seed}"}], "weight": 1.0}}},
    }
    cli("train", write_spec(labelled(table, variants=variants)), "--quiet")
    rows = list(csv.DictReader((runs / "small/small/seed-0/metrics.csv").read_text().splitlines()))
    assert float(rows[-1]["val_loss"]) < 0.6 * float(rows[0]["val_loss"])


@pytest.mark.parametrize(
    ("asked", "changes", "words"),
    [
        (
            several,
            {"loss": {"kind": "cross_entropy"}},
            "loss cross_entropy is not for several questions: use multitask",
        ),
        (labelled, {"loss": {"kind": "cross_entropy"}}, "is not for labels, of which a sample has any number: use bce"),
        (labelled, {"loss": {"kind": "multitask"}}, "loss multitask is for several questions about a sample"),
        (
            several,
            {"loss": {"weights": {"digt": 2}}},
            "no question is called 'digt'; did you mean 'digit'",
        ),
        (several, {"loss": {"weights": dict.fromkeys(QUESTIONS, 0)}}, "every question has the weight 0"),
        (several, {"evaluation": {"metrics": ["accuracy"]}}, "no metric is called 'accuracy'"),
        (
            several,
            {"evaluation": {"metrics": ["ink_f1_macro"]}},
            "question ink: metric 'f1_macro' is for",
        ),
        (several, {"evaluation": {"select": "val_digit_f1_per_class"}}, "name one, as val_digit_f1_class_0"),
        (several, {"evaluation": {"metrics": ["digit_f1_class_10"]}}, "the data has classes 0 to 9"),
        (
            several,
            {"structure": {"distill": {"teachers": [{"run": "a/b/seed-0"}]}}},
            "teachers are asked one question, and loss multitask answers several",
        ),
        (
            labelled,
            {"loss": {"kind": "mse"}, "evaluation": {"metrics": ["calibration_error"]}},
            "metric 'calibration_error' is for classification, and this data is for multilabel",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_trained(
    asked: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    words: str,
    cli: Callable[..., Ended],
    write_spec: Callable[..., Path],
    runs: Path,
    table: Path,
) -> None:
    ended = cli("train", write_spec(asked(table, **changes)), code=2)
    assert words in ended.stderr
    assert len(ended.errors) == 1
    assert not runs.exists()


def test_losses_that_weigh_questions_otherwise_are_not_compared_as_one(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], table: Path
) -> None:
    variants = {"all": {}, "digit_alone": {"loss": {"weights": {"ink": 0, "digit_odd": 0}}}}
    cli("train", write_spec(several(table, variants=variants, budget={"epochs": 1})), "--quiet")
    words = "val_loss is not the same quantity in all"
    assert words in " ".join(cli("compare", "small").stdout.split())
    question = " ".join(cli("compare", "small", "--metric", "val_digit_loss").stdout.split())
    assert "is not the same quantity" not in question


def test_a_search_may_look_at_one_question(
    cli: Callable[..., Ended], write_spec: Callable[..., Path], table: Path
) -> None:
    for metric, code in {"digit_accuracy": 0, "ink_r2": 0, "digit_odd_roc_auc": 2, "digit_recall_class_1": 2}.items():
        search = {
            "space": {"optimizer.lr": {"choice": [0.1, 0.01]}},
            "trials": 2,
            "objective": {"metric": f"val_{metric}"},
        }
        ended = cli("check", write_spec(several(table, search=search)), code=code)
        if code:
            assert f"val_{metric} is not measured: name {metric} in evaluation.metrics" in ended.stderr


def test_calibration_needs_probabilities(cli: Callable[..., Ended], write_spec: Callable[..., Path]) -> None:
    ended = cli("check", write_spec({"loss": {"kind": "mse"}, "evaluation": {"metrics": ["brier"]}}), code=2)
    assert "spec.yaml" in ended.stderr
    assert "metric 'brier' needs probabilities, which loss mse does not give" in ended.stderr
