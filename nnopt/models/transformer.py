"""A decoder of the GPT family: at every place, what the tokens up to there say of the next one."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from nnopt.models.layers import ACTIVATIONS
from nnopt.models.vectors import Rotation, vectors

NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}
STANDARD_DEVIATION = 0.02  # of initial weights: Radford et al. 2019


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """softmax(QKᵀ/√d + causal mask) V by torch's own kernel; each is [n, heads, length, width of a head].

    On a CPU in fp32 whatever the precision: the backward pass of its kernel takes six times as long in bf16.
    """
    if query.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropout)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), is_causal=True, dropout_p=dropout
        )


class Attention(nn.Module):
    """Causal self-attention with several heads, softmax(QKᵀ/√d + mask) V: each place sees itself and what is before it.

    Vaswani et al. 2017, arXiv:1706.03762; computed by torch's own kernel.
    """

    def __init__(self, width: int, heads: int, dropout: float, rotation: Rotation | None) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.rotation = rotation

    @override
    def forward(self, values: Tensor) -> Tensor:
        """Values [n, length, width] -> [n, length, width]."""
        n, length, width = values.shape
        together = self.query_key_value(values).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = together.permute(2, 0, 3, 1, 4)  # each [n, heads, length, width of a head]
        if self.rotation is not None:
            query, key = self.rotation(query), self.rotation(key)
        dropout = self.dropout if self.training else 0.0
        found = attend(query, key, value, dropout)
        return self.output(found.transpose(1, 2).reshape(n, length, width))  # type: ignore[no-any-return]


class Block(nn.Module):
    """x + attention(norm(x)), then x + dense layers(norm(x))."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        activation: str,
        norm: str,
        dropout: float,
        attention_dropout: float,
        rotation: Rotation | None,
    ) -> None:
        super().__init__()
        self.attention_norm = NORMS[norm](width)
        self.attention = Attention(width, heads, attention_dropout, rotation)
        self.dense_norm = NORMS[norm](width)
        self.dense = nn.Sequential(nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    @override
    def forward(self, values: Tensor) -> Tensor:
        """Values [n, length, width] -> [n, length, width]."""
        values = values + self.dropout(self.attention(self.attention_norm(values)))
        return values + self.dropout(self.dense(self.dense_norm(values)))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Tokens [n, length], length at most `context`, to scores of the next token [n, length, vocabulary].

    Args:
        vocabulary: how many tokens there are.
        context: the most tokens that are seen at once.
        layers: how many blocks.
        heads: of each attention; the width of a head is `width / heads`.
        width: numbers that stand for a token between the blocks.
        hidden: width between a block's two dense layers.
        positions: learned (a vector for each place, added to the token's) or rotary.
        tied: the last layer's weights are those that stand for the tokens (Press and Wolf 2016, arXiv:1608.05859).
        activation: between a block's two dense layers.
        norm: layer or rms.
        dropout: share of the first block's inputs, and of what each half of a block adds, dropped in training.
        attention_dropout: share of the attention's weights dropped in training.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        layers: int,
        heads: int,
        width: int,
        hidden: int,
        positions: str,
        tied: bool,
        activation: str,
        norm: str,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.tokens = vectors(vocabulary, width)
        self.positions = vectors(context, width) if positions == "learned" else None
        rotation = Rotation(width // heads, context) if positions == "rotary" else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, activation, norm, dropout, attention_dropout, rotation) for _ in range(layers)
        )
        self.norm = NORMS[norm](width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self._initialise()
        if tied:
            self.head.weight = self.tokens.weight

    def _initialise(self) -> None:
        """N(0, 0.02²), biases 0; what is added to the sum of the blocks is smaller by the root of how many add."""
        adding = 2 * len(self.blocks)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear | nn.Embedding) and not layer.weight.is_meta:
                adds = name.endswith(("attention.output", "dense.2"))
                nn.init.normal_(layer.weight, std=STANDARD_DEVIATION / (math.sqrt(adding) if adds else 1.0))
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [n, length] int64 -> scores [n, length, vocabulary]."""
        values = self.tokens(tokens)
        if self.positions is not None:
            values = values + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        values = self.dropout(values)
        for block in self.blocks:
            values = block(values)
        return self.head(self.norm(values))  # type: ignore[no-any-return]
