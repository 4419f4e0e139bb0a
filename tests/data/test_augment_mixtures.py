"""Samples that are mixed, and losses of shares of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnopt.data.augment.mixing import SymmetricBeta
from nnopt.data.augment.transform import Transform
from nnopt.data.dataset import Dataset, Part
from nnopt.losses import ComponentLoss, CrossEntropy, Loss, QuestionsLoss, SigmoidCrossEntropy, TwoClassCrossEntropy
from nnopt.spec.data.augment import AUGMENTS

N = 60


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data_of(inputs: Tensor, targets: Tensor, task: str, classes: int = 0) -> Dataset:
    part = Part(inputs, targets)
    names = tuple(map(str, range(classes)))
    return Dataset("made", part, part, part, task, names, torch.zeros(1), torch.ones(1), "")  # type: ignore[arg-type]


def build(data: Dataset, kind: str, **keys: Any) -> Transform:
    return AUGMENTS.find(kind).model_validate({"kind": kind, **keys}).build(data)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0, 60.0])
def test_draws_follow_the_beta_distribution(alpha: float) -> None:
    drawn = SymmetricBeta(alpha, torch.device("cpu")).draw(20_000, generator())
    lower = drawn[drawn < 0.5].double().numpy()  # near 1 a float has too few digits
    assert scipy.stats.kstest(lower, lambda x: 2 * scipy.stats.beta(alpha, alpha).cdf(x)).pvalue > 0.001
    upper = 1 - drawn[drawn >= 0.5].double().numpy()
    assert scipy.stats.ks_2samp(np.maximum(lower, 1e-6), np.maximum(upper, 1e-6)).pvalue > 0.001
    assert len(lower) == pytest.approx(10_000, abs=300)
    assert drawn.amin() >= 0
    assert drawn.amax() <= 1


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_mixup_mixes_inputs_and_targets_by_the_same_amounts(share: float) -> None:
    inputs = torch.eye(N)  # a column for each sample: the mixture can be read off
    targets = torch.arange(N) % 7
    found, shares = build(data_of(inputs, targets, "classification", 7), "mixup", alpha=1.0, share=share)(
        inputs, targets, generator()
    )
    torch.testing.assert_close(shares, found @ F.one_hot(targets, 7).float())
    torch.testing.assert_close(shares.sum(1), torch.ones(N))
    assert ((found > 0).sum(1) <= 2).all()
    whole = (found.diagonal() == 1).float().mean()
    assert whole < 0.1 if share == 1 else 0.45 < whole < 0.8
    assert found.diagonal().unique().numel() > 15


def test_values_and_labels_are_mixed_as_the_inputs_are() -> None:
    inputs = torch.eye(N)
    for task, targets in (("regression", torch.randn(N, 2, generator=generator(1))), ("multilabel", torch.eye(N, 4))):
        found, mixed = build(data_of(inputs, targets, task, 4 if task == "multilabel" else 0), "mixup", alpha=2.0)(
            inputs, targets, generator()
        )
        torch.testing.assert_close(mixed, found @ targets)


def test_cutmix_covers_a_rectangle_and_mixes_targets_by_its_area() -> None:
    inputs = torch.arange(N).float().view(N, 1, 1, 1).expand(N, 3, 10, 14).contiguous()
    targets = torch.arange(N)
    data = data_of(inputs, targets, "classification", N)
    found, shares = build(data, "cutmix", share=0.9)(inputs, targets, generator())
    areas = []
    for row, (image, share) in enumerate(zip(found, shares, strict=True)):
        covered = image[0] != row
        assert (image == image[:1]).all()
        assert covered.sum() == covered.any(0).sum() * covered.any(1).sum()  # a rectangle
        assert image[0][covered].unique().numel() <= 1
        wanted = torch.bincount(image[0].flatten().long(), minlength=N) / 140
        torch.testing.assert_close(share, wanted)
        areas.append(float(covered.float().mean()))
    assert min(areas) == 0
    assert max(areas) > 0.5


def test_the_other_share_goes_to_samples_drawn_without_preference() -> None:
    inputs, targets = torch.eye(N), torch.arange(N)
    change = build(data_of(inputs, targets, "classification", N), "mixup", alpha=50.0)
    counts = torch.zeros(N, N)
    for seed in range(200):
        counts += (change(inputs, targets, generator(seed))[0] > 0).float()
    off = counts[~torch.eye(N, dtype=torch.bool)].numpy()
    assert off.mean() == pytest.approx(200 / N, rel=0.05)
    assert off.max() < 16  # a Poisson variable of mean 3.3 in 3540 places


def test_shares_can_be_mixed_once_more() -> None:
    inputs = torch.eye(N).view(N, 1, 6, 10)
    targets = torch.arange(N) % 3
    data = data_of(inputs, targets, "classification", 3)
    first = build(data, "mixup", alpha=1.0)(inputs, targets, generator())
    second, shares = build(data, "mixup", alpha=1.0)(*first, generator(1))
    torch.testing.assert_close(shares, second.flatten(1) @ F.one_hot(targets, 3).float())


# -------------------------------------------------------------------------------------------------- losses

EYE = torch.eye(4)
OF_CLASSES: list[tuple[Loss, int]] = [
    (CrossEntropy(), 4),
    (CrossEntropy(label_smoothing=0.2), 4),
    (CrossEntropy(label_smoothing=0.1, class_weights=torch.tensor([1.0, 0.0, 2.5, 0.3])), 4),
    (ComponentLoss(F.mse_loss, EYE), 4),
    (SigmoidCrossEntropy(EYE), 4),
    (TwoClassCrossEntropy(), 1),
]


@pytest.mark.parametrize(("loss", "outputs"), OF_CLASSES)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_a_whole_share_is_a_class(loss: Loss, outputs: int, seed: int) -> None:
    logits = torch.randn(9, outputs, generator=generator(seed)) * 4
    classes = torch.randint(max(outputs, 2), (9,), generator=generator(seed + 1))
    shares = F.one_hot(classes, max(outputs, 2)).float()
    torch.testing.assert_close(loss(logits, shares), loss(logits, classes))


@pytest.mark.parametrize(("loss", "outputs"), [row for row in OF_CLASSES if not isinstance(row[0], ComponentLoss)])
def test_the_loss_of_shares_is_the_mean_over_classes(loss: Loss, outputs: int) -> None:
    count = max(outputs, 2)
    logits, shares = torch.randn(1, outputs, generator=generator()), torch.rand(1, count, generator=generator(1))
    shares /= shares.sum()
    by_class = torch.stack([loss(logits, torch.tensor([index])) for index in range(count)])
    torch.testing.assert_close(loss(logits, shares), (by_class * shares[0]).sum())


@pytest.mark.parametrize(
    ("loss", "width", "say"),
    [
        (CrossEntropy(), 5, lambda z: torch.softmax(z, -1)),
        (SigmoidCrossEntropy(None), 5, torch.sigmoid),
        (TwoClassCrossEntropy(), 1, torch.sigmoid),
        (ComponentLoss(F.mse_loss, None), 5, lambda z: z),
        (
            QuestionsLoss((3, 1, 2), (False, True, False), (1.0, 1.0, 1.0)),
            6,
            lambda z: torch.cat((torch.softmax(z[..., :3], -1), z[..., 3:4], torch.softmax(z[..., 4:], -1)), -1),
        ),
    ],
)
def test_answers_together_say_the_mean(loss: Loss, width: int, say: Any) -> None:
    outputs = [torch.randn(7, width, generator=generator(seed)) * 20 for seed in range(4)]
    together = loss.together(outputs)
    assert torch.isfinite(together).all()
    np.testing.assert_allclose(say(together), torch.stack([say(one) for one in outputs]).mean(0), rtol=1e-4, atol=1e-6)
