"""Metrics of the probabilities that a model gives, not of its decisions alone."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from nnopt.metrics.ranking import average_precision, mean_of_known, roc_auc

RANKED = ("roc_auc", "average_precision")
OF_PROBABILITIES = (*RANKED, "calibration_error", "brier")
BINS = 15


class Confidence:
    """Those of `names` among OF_PROBABILITIES; scores of all samples are kept where ranks are asked for."""

    def __init__(self, names: Collection[str], dtype: torch.dtype, device: torch.device | str) -> None:
        self.wanted = any(name in OF_PROBABILITIES for name in names)
        self._ranked = [name for name in RANKED if name in names]
        self._scores: list[Tensor] = []
        self._positive: list[Tensor] = []
        self._samples = 0
        self._dtype = dtype
        self._edges = torch.arange(1, BINS, dtype=dtype, device=device) / BINS
        self._gaps = torch.zeros(BINS, dtype=dtype, device=device)
        self._squares = torch.zeros((), dtype=dtype, device=device)

    def count(self, probabilities: Tensor, positive: Tensor) -> None:
        """Take in a chunk: probabilities [n, k], and whether each of the k classes or labels is right, [n, k]."""
        probabilities = probabilities.to(self._dtype)
        if self._ranked:
            self._scores.append(probabilities)
            self._positive.append(positive)
        self._samples += len(probabilities)
        highest, predicted = probabilities.max(1)
        hits = positive.gather(1, predicted[:, None]).squeeze(1)
        bins = torch.bucketize(highest, self._edges)
        # A sum over a mask, not a scatter: that adds in another order each time on a GPU.
        inside = bins[:, None] == torch.arange(BINS, device=bins.device)
        self._gaps += (inside * (highest - hits.to(self._dtype))[:, None]).sum(0)
        self._squares += (probabilities - positive.to(self._dtype)).square().sum()

    def values(self, class_of_two: bool) -> dict[str, float]:
        """The metrics over all samples so far. `class_of_two`: of two columns, the second alone is ranked."""
        if not self.wanted:
            return {}
        found = {
            "calibration_error": float(self._gaps.abs().sum()) / self._samples,
            "brier": float(self._squares) / self._samples,
        }
        if not self._ranked:
            return found
        scores, positive = torch.cat(self._scores).cpu(), torch.cat(self._positive).cpu()
        columns = [1] if class_of_two and scores.shape[1] == 2 else range(scores.shape[1])
        measures = {"roc_auc": (roc_auc, 0.5), "average_precision": (average_precision, 0.0)}
        for name in self._ranked:
            measure, otherwise = measures[name]
            found[name] = mean_of_known([measure(scores[:, c], positive[:, c]) for c in columns], otherwise)
        return found
