"""Targets drawn from what outputs say is probable: their gradients have the Hessian's entries as second moments."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nnopt.errors import UsageError
from nnopt.losses import (
    ComponentLoss,
    CrossEntropy,
    Loss,
    QuestionsLoss,
    SigmoidCrossEntropy,
    TwoClassCrossEntropy,
)

ROWS = 40_000
EYE = torch.eye(3, dtype=torch.float64)
LOSSES: dict[str, tuple[Loss, int, Callable[[int], Tensor]]] = {
    "cross_entropy": (CrossEntropy(), 3, lambda n: torch.zeros(n, dtype=torch.long)),
    "label_smoothing": (CrossEntropy(label_smoothing=0.3), 3, lambda n: torch.zeros(n, dtype=torch.long)),
    "two_classes": (TwoClassCrossEntropy(), 1, lambda n: torch.zeros(n, dtype=torch.long)),
    "bce": (SigmoidCrossEntropy(EYE), 3, lambda n: torch.zeros(n, dtype=torch.long)),
    "labels": (SigmoidCrossEntropy(None), 3, lambda n: torch.zeros(n, 3)),
    "mse": (ComponentLoss(F.mse_loss, None), 3, lambda n: torch.zeros(n, 3)),
    "one_hot_mse": (ComponentLoss(F.mse_loss, EYE), 3, lambda n: torch.zeros(n, dtype=torch.long)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_n_times_the_gradients_second_moment_is_the_losss_hessian(name: str) -> None:
    loss, width, targets = LOSSES[name]
    row = torch.tensor([[0.3, -1.0, 0.8]], dtype=torch.float64)[:, :width]

    hessian = torch.autograd.functional.hessian(lambda z: loss(z, targets(1)), row).reshape(width, width)

    outputs = row.expand(ROWS, width).clone().requires_grad_()
    drawn = loss.drawn(outputs.detach(), torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(loss(outputs, drawn), outputs)
    # Of a mean over n rows, each of which has 1/n of its own gradient: n·Σ ggᵀ = mean of the rows' own ggᵀ.
    found = ROWS * gradient.T @ gradient
    torch.testing.assert_close(found, hessian, rtol=0.05, atol=0.02 * float(hessian.abs().max()))
    assert (ROWS * gradient).mean(dim=0).abs().max() < 0.05  # and the first moment is 0


def test_tokens_are_drawn_at_every_place() -> None:
    scores = torch.zeros(2, 5, 4)
    scores[0, :, 2] = scores[1, :, 3] = 50.0

    drawn = CrossEntropy().drawn(scores, torch.Generator().manual_seed(0))
    smooth = CrossEntropy(label_smoothing=0.1)
    shares = smooth.drawn(scores, torch.Generator().manual_seed(0))

    assert drawn.tolist() == [[2] * 5, [3] * 5]
    # Smoothing turns these shares into all for the class that was drawn.
    torch.testing.assert_close(smooth(scores, shares), CrossEntropy()(scores, drawn))


def test_the_same_generator_draws_the_same_targets() -> None:
    for loss, width, _ in LOSSES.values():
        outputs = torch.randn(50, width, generator=torch.Generator().manual_seed(1))
        once, again, other = (loss.drawn(outputs, torch.Generator().manual_seed(seed)) for seed in (2, 2, 3))
        assert torch.equal(once, again)
        assert not torch.equal(once, other)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (ComponentLoss(F.l1_loss, None), "this loss"),
        (ComponentLoss(F.huber_loss, None), "this loss"),
        (CrossEntropy(class_weights=torch.ones(3)), "cross_entropy with class_weights"),
        (SigmoidCrossEntropy(EYE, torch.ones(2, 3)), "bce with class_weights"),
        (TwoClassCrossEntropy(torch.ones(2, 1)), "bce with class_weights"),
        (QuestionsLoss([3], [False], [1.0]), "this loss"),
    ],
)
def test_a_loss_that_is_no_likelihood_says_so(loss: Loss, words: str) -> None:
    width = 1 if isinstance(loss, TwoClassCrossEntropy) else 3
    with pytest.raises(UsageError, match=f"{words}.* take loss cross_entropy or bce .* or mse"):
        loss.drawn(torch.zeros(4, width), torch.Generator())
