"""Texts with some tokens replaced."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.augment.transform import Transform


class TokenMasking(Transform):
    """Replaces a share of the tokens that a model reads by others at random; what it is to answer stays."""

    def __init__(self, share: float, vocabulary: int) -> None:
        self.share = share
        self.vocabulary = vocabulary

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = inputs.device
        hidden = torch.rand(inputs.shape, generator=generator, device=device) < self.share
        others = torch.randint(self.vocabulary, inputs.shape, generator=generator, device=device)
        return torch.where(hidden, others, inputs), targets
