"""How well scores rank the samples of a class above the others, equal scores counted exactly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def roc_auc(scores: Tensor, positive: Tensor) -> float | None:
    """The probability that a sample of the class has a higher score than another one; equal scores count half.

    Args:
        scores: [n].
        positive: [n] whether a sample is of the class.

    Returns:
        The area under the ROC curve; None where all or none of the samples are of the class.
    """
    hits, misses = _curve(scores, positive)
    if hits[-1] == 0 or misses[-1] == 0:
        return None
    steps = misses.diff(prepend=misses.new_zeros(1))
    heights = hits - hits.diff(prepend=hits.new_zeros(1)) / 2
    return float((steps * heights).sum() / (hits[-1] * misses[-1]))


def average_precision(scores: Tensor, positive: Tensor) -> float | None:
    """The precision at each threshold, weighted by the recall that it adds: Σ (R_i - R_(i-1)) P_i.

    `scores` [n] and `positive` [n] are as for roc_auc; None where no sample is of the class.
    """
    hits, misses = _curve(scores, positive)
    if hits[-1] == 0:
        return None
    gained = hits.diff(prepend=hits.new_zeros(1))
    return float((gained * hits / (hits + misses)).sum() / hits[-1])


def mean_of_known(values: Sequence[float | None], otherwise: float) -> float:
    """The mean of those that are known, `otherwise` where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else otherwise


def _curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """How many samples of the class, and how many others, have at least each of the different scores, highest first."""
    ordered, order = scores.sort(descending=True, stable=True)
    hits = positive[order].double().cumsum(0)
    ends = torch.cat((ordered[1:] != ordered[:-1], ordered.new_ones(1, dtype=torch.bool)))
    places = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    return hits[ends], (places - hits)[ends]
