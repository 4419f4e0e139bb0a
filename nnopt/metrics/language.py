"""Metrics of the next token at every place of a text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.losses.classes import CrossEntropy
from nnopt.losses.loss import Loss
from nnopt.metrics.classes import deepest
from nnopt.metrics.tally import Tally

OF_LIKELIHOOD = ("perplexity", "bits_per_character")


class LanguageTally(Tally):
    """Sums over tokens: outputs [n, length, vocabulary], targets [n, length].

    Perplexity and bits per character come from the mean of -log p of the true token, whatever the loss adds to it.

    Args:
        names: the columns wanted.
        loss: what is minimised.
        characters: how many characters of the text a token stands for, on the average.
        device: where outputs and targets lie.
    """

    def __init__(self, names: Sequence[str], loss: Loss, characters: float, device: torch.device | str) -> None:
        super().__init__(names, loss, device)
        self._characters = characters
        self._tokens = 0
        self._depth = max(deepest(self.names), 1) if {*self.names} - {"loss", *OF_LIKELIHOOD} else 0
        self._hits = torch.zeros(self._depth, dtype=torch.int64, device=device)
        self._surprise = torch.zeros((), dtype=self._dtype, device=device)
        self._loss_is_surprise = isinstance(loss, CrossEntropy) and loss.plain
        self._surprise_wanted = bool({*self.names} & {*OF_LIKELIHOOD}) and not self._loss_is_surprise

    @override
    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        self._tokens += targets.numel()
        if self._surprise_wanted:
            logits = outputs.flatten(0, -2).float()
            self._surprise += F.cross_entropy(logits, targets.flatten(), reduction="sum").to(self._dtype)
        if self._depth == 1:
            self._hits += (outputs.argmax(-1) == targets).sum()
        elif self._depth:
            best = outputs.topk(self._depth, dim=-1).indices  # [n, length, k], best first
            self._hits += (best == targets[..., None]).sum((0, 1))

    @override
    def _values(self) -> dict[str, float]:
        hits = (self._hits.cpu().double().cumsum(0) / self._tokens).tolist()
        shares = {f"top{k}_accuracy": share for k, share in enumerate(hits, start=1)}
        if hits:
            shares["accuracy"] = hits[0]
        mean = float(self._loss_sum) / self.samples if self._loss_is_surprise else float(self._surprise) / self._tokens
        return {
            **shares,
            "perplexity": math.exp(mean) if mean < math.log(1e300) else math.inf,
            "bits_per_character": mean / math.log(2) / self._characters,
        }
