"""A recurrent network that carries what it has read from token to token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from nnopt.models.vectors import vectors

RANGE = 0.1  # of the initial weights that stand for tokens: Zaremba et al. 2014, arXiv:1409.2329


class Lstm(nn.Module):
    """Tokens [n, length] to scores of the next token [n, length, vocabulary]; it begins each window with nothing read.

    Args:
        vocabulary: how many tokens there are.
        layers: how many cells stand on each other.
        width: numbers that stand for a token, and that each cell gives.
        dropout: share of the numbers dropped in training before and after each cell.
        tied: the last layer's weights are those that stand for the tokens (Press and Wolf 2016, arXiv:1608.05859).
    """

    def __init__(self, vocabulary: int, layers: int, width: int, dropout: float, tied: bool) -> None:
        super().__init__()
        self.tokens = vectors(vocabulary, width)
        self.dropout = nn.Dropout(dropout)
        self.cells = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = nn.Linear(width, vocabulary)
        nn.init.uniform_(self.tokens.weight, -RANGE, RANGE)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            for layer in range(layers):
                # The gates are input, forget, cell, output: one that forgets little at first lets gradients through
                # (Jozefowicz et al. 2015).
                getattr(self.cells, f"bias_ih_l{layer}")[width : 2 * width] = 1.0
        if tied:
            self.head.weight = self.tokens.weight

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [n, length] int64 -> scores [n, length, vocabulary]."""
        values, _ = self.cells(self.dropout(self.tokens(tokens)))
        return self.head(self.dropout(values))  # type: ignore[no-any-return]
