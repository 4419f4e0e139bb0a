"""A long row of tokens, cut into windows: what a language model reads, and the tokens that follow in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.dataset import Samples
from nnopt.randomness import derive


@dataclass(frozen=True, eq=False)
class Windows(Samples):
    """Windows that follow each other without overlap, from the first token on; what is left at the end is not used.

    Sample i is the inputs t[i·c] ... t[(i+1)·c − 1] and, as targets, the token after each: so every token but the first
    is to be foretold once.

    Attributes:
        tokens: [n], of any whole type.
        context: how many tokens a model sees at once.
    """

    tokens: Tensor
    context: int

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.context

    @property
    @override
    def device(self) -> torch.device:
        return self.tokens.device

    @override
    def gather(self, rows: Tensor | None, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Inputs and targets [n, context] int64."""
        start = self.start(epoch)
        # [windows, context + 1]: neighbours share a token
        cut = self.tokens[start : start + len(self) * self.context + 1].unfold(0, self.context + 1, self.context)
        chosen = (cut if rows is None else cut.index_select(0, rows)).to(torch.int64)
        return chosen[:, :-1], chosen[:, 1:]

    @override
    def to(self, device: torch.device | str) -> Windows:
        return replace(self, tokens=self.tokens.to(device))

    def start(self, epoch: int) -> int:
        """Where the first window begins."""
        return 0


@dataclass(frozen=True, eq=False)
class ShiftedWindows(Windows):
    """Windows of which the first begins elsewhere in every epoch, so that a token is foretold from more or less of what
    stands before it. Their number is the same in all epochs.

    Attributes:
        seed: the beginnings are a function of this and of the epoch.
    """

    fixed = False
    seed: int = 0

    def __len__(self) -> int:
        return max(1, len(self.tokens) // self.context - 1)

    @override
    def start(self, epoch: int) -> int:
        free = len(self.tokens) - 1 - len(self) * self.context
        return derive(self.seed, "windows", epoch) % (min(free, self.context - 1) + 1)

    @override
    def for_seed(self, seed: int) -> ShiftedWindows:
        return replace(self, seed=seed)
