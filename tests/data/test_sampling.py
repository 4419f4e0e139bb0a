from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ended
from running import StopAfter, assert_same_bits, fit, fit_one, prepare

from nnopt.data.balance import class_weights, yes_no_weights
from nnopt.data.batches import Position
from nnopt.data.dataset import Dataset
from nnopt.data.prepare import prepare as prepared
from nnopt.data.raw import Raw
from nnopt.data.sampling import BalancedOrder
from nnopt.errors import DataError, Interrupted
from nnopt.spec.losses import Bce, CrossEntropy

pytestmark = pytest.mark.usefixtures("undrawn")

LABELS = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
RARE: dict[str, Any] = {"data": {"imbalance": {"3": 0.1, "8": 0.05}, "sampling": {"kind": "balanced"}}}


def order(power: float = 0.0, seed: int = 1) -> BalancedOrder:
    counts = LABELS.bincount().double()
    return BalancedOrder(seed, LABELS, counts**power, torch.device("cpu"))


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_classes_are_drawn_by_a_power_of_their_count_and_their_rows_alike(power):
    draws, drawn = order(power), torch.zeros(1000)
    position = Position()
    while position.epoch < 40:
        drawn += draws.take(position, 128).bincount(minlength=1000)
    counts = LABELS.bincount().double().numpy()
    share = counts**power / (counts**power).sum()
    found = np.bincount(LABELS, drawn.numpy())
    # 40,000 draws: five standard deviations.
    assert (np.abs(found - 40_000 * share) < 5 * np.sqrt(40_000 * share * (1 - share))).all()
    for label in range(3):
        mine, expected = drawn[label == LABELS].numpy(), 40_000 * share[label] / counts[label]
        assert (np.abs(mine - expected) < 5.5 * np.sqrt(expected)).all()


def test_an_epoch_is_a_function_of_seed_and_epoch_whatever_the_batches():
    def epoch(draws: BalancedOrder, number: int, size: int) -> list[int]:
        position, rows = Position(number), []
        while position.epoch == number:
            rows += draws.take(position, size).tolist()
        return rows

    first, again = order(), order()
    assert epoch(first, 0, 128) == epoch(again, 0, 1000)
    assert epoch(first, 2, 7) == epoch(again, 2, 999)
    assert len(epoch(first, 3, 128)) == 1000
    assert epoch(first, 0, 128) != epoch(first, 1, 128)
    assert epoch(first, 0, 128) != epoch(order(seed=2), 0, 128)


def test_a_run_draws_rare_classes_as_often_as_others_and_resumes_to_the_bit(tmp_path: Path):
    _, setup, _ = prepare(tmp_path, RARE)
    targets = setup.data.train.targets
    rows = setup.feed.order.take(Position(), len(targets))
    # 10 classes of about 1/10 each: five standard deviations.
    drawn = targets[rows].bincount()
    assert targets.bincount()[[3, 8]].tolist() == [12, 6]
    assert (drawn - len(rows) / 10).abs().max() < 5 * (0.09 * len(rows)) ** 0.5

    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves):
        folder.mkdir()
    changes = {**RARE, "evaluation": {"every": {"steps": 7}}}
    one = fit_one(whole, changes)
    with pytest.raises(Interrupted):
        fit(halves, changes, StopAfter(2))
    assert_same_bits(one.folder, fit_one(halves, changes).folder)


def table(targets: np.ndarray, names: tuple[str, ...], **keys: Any) -> Dataset:
    raw = Raw(np.random.default_rng(0).normal(size=(len(targets), 3)), targets, names, "hash", **keys)
    return prepared("t", raw, validation=0.1, test=0.1, split_seed=0, normalise="standard")


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    data = table(LABELS.numpy(), ("a", "b", "c"))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=data.train.targets.numpy())
    assert class_weights("k", data).tolist() == pytest.approx(expected.tolist())
    loss = CrossEntropy(kind="cross_entropy", class_weights="balanced").build_for(data, "cpu")
    given = CrossEntropy(kind="cross_entropy", class_weights=tuple(expected.tolist())).build_for(data, "cpu")
    outputs = torch.randn(len(data.train), 3, generator=torch.Generator().manual_seed(0))
    assert loss(outputs, data.train.targets) == given(outputs, data.train.targets)


def slow_bce(outputs: torch.Tensor, yes: torch.Tensor) -> float:
    """Each component's mean loss over those with a yes, and over those with a no, count the same."""
    parts = []
    for logits, wanted in zip(outputs.double().T, yes.T, strict=True):
        chance = torch.sigmoid(logits)
        parts += [-chance[wanted].log().mean() / 2 - (1 - chance[~wanted]).log().mean() / 2]
    return float(sum(parts) / len(parts))


@pytest.mark.parametrize("classes", [2, 3])
def test_balanced_weights_of_yes_and_no_for_classes(classes):
    data = table(LABELS.clamp(max=classes - 1).numpy(), ("a", "b", "c")[:classes])
    targets = data.train.targets
    yes = torch.nn.functional.one_hot(targets, classes).bool()
    yes = yes[:, 1:] if classes == 2 else yes
    outputs = torch.randn(yes.shape, generator=torch.Generator().manual_seed(0))
    loss = Bce(kind="bce", class_weights="balanced").build_for(data, "cpu")
    assert float(loss(outputs, targets)) == pytest.approx(slow_bce(outputs, yes), rel=1e-5)


def test_balanced_weights_of_labels():
    labels = (np.random.default_rng(1).random((300, 4)) < (0.05, 0.3, 0.5, 0.9)).astype(np.float64)
    data = table(labels, ("a", "b", "c", "d"), stated_task="multilabel")
    outputs = torch.randn(data.train.targets.shape, generator=torch.Generator().manual_seed(0))
    loss = Bce(kind="bce", class_weights="balanced").build_for(data, "cpu")
    assert float(loss(outputs, data.train.targets)) == pytest.approx(
        slow_bce(outputs, data.train.targets.bool()), rel=1e-5
    )
    labels[:, 1] = 1
    with pytest.raises(DataError, match="of label b all training rows say the same"):
        yes_no_weights("k", table(labels, ("a", "b", "c", "d"), stated_task="multilabel"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": {"kind": "diabetes", "sampling": {"kind": "balanced"}}, "loss": {"kind": "mse"}},
            "data.sampling: balanced",
        ),
        ({"loss": {"class_weights": "balance"}}, "should be a list of weights, or balanced, not the text 'balance'"),
        ({"data": {"sampling": {"kind": "balanced", "power": 1}}}, "data.sampling.power: should be less than 1"),
        ({"data": {"classes": ["1", "eleven"]}}, "data.classes: there is no class 'eleven'"),
        ({"data": {"classes": [4]}}, "data.classes: one class leaves nothing to tell apart"),
        ({"data": {"classes": [4, "4"]}}, "data.classes: a class is there twice"),
        ({"data": {"fraction": 5000}}, "data.fraction: 5000 rows are more than the 1222 for training"),
        ({"data": {"folds": 1}}, "data.folds: should be at least 2"),
        ({"data": {"folds": 5, "validation": 100}}, "data.validation: folds decide the validation rows"),
        ({"data": {"folds": 2000}}, "data.folds: 2000 folds of 1438 rows leave some empty"),
        ({"data": {"imbalance": {"3": 0}}}, "data.imbalance.3: should be greater than 0"),
    ],
)
def test_a_mistake_is_one_line_before_training(changes, message, write_spec, cli: Callable[..., Ended]):
    ended = cli("train", write_spec(changes), "--quiet", code=2)
    assert len(ended.errors) == 1
    assert message in ended.errors[0]
