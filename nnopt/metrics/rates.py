"""Precision, recall and F1 from counts."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

RATES = ("precision", "recall", "f1")


def rates(hits: Tensor, actual: Tensor, predicted: Tensor, all_count: bool = False) -> dict[str, float]:
    """All averages, and the rates of each class or label.

    Args:
        hits: [k], how often each was predicted and right; counts as floats.
        actual: [k], how often it was right.
        predicted: [k], how often it was predicted.
        all_count: whether a macro average also holds one that was neither right nor predicted anywhere.
    """
    # 2·hits / (actual + predicted) is the harmonic mean of precision and recall.
    by_rate = {
        "precision": (hits, predicted),
        "recall": (hits, actual),
        "f1": (2 * hits, actual + predicted),
    }
    occurs = (actual + predicted > 0) | all_count
    result: dict[str, float] = {}
    for rate, (above, below) in by_rate.items():
        each = above / below.clamp(min=1)
        result[f"{rate}_macro"] = float(each[occurs].mean())
        result[f"{rate}_micro"] = float(above.sum() / below.sum().clamp(min=1))
        result[f"{rate}_weighted"] = float((each * actual).sum() / actual.sum().clamp(min=1))
        result |= {f"{rate}_class_{index}": value for index, value in enumerate(each.tolist())}
    return result


@functools.cache
def rate_names(classes: int) -> frozenset[str]:
    """The names that `rates` gives for so many classes."""
    once = torch.ones(classes)
    return frozenset(rates(once, once, once))
