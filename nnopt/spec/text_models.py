"""Models that read tokens and foretell the next one at every place."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from nnopt.spec.model_base import ModelSpec, Reads
from nnopt.spec.model_shapes import Activation

if TYPE_CHECKING:
    from torch import nn


class Transformer(ModelSpec):
    """A small GPT: causal attention and dense layers, each added to what comes in; for text.

    With 12 layers, 12 heads, a width of 768, a context of 1024 and 50,257 tokens it is GPT-2 (small), which has
    124,439,808 parameters.
    """

    formula: ClassVar[str] = "block: x + attention(norm(x)), x + W₂ σ(W₁ norm(x)); attention: softmax(QKᵀ/√d, causal) V"
    source: ClassVar[str] = (
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners; Vaswani et al. 2017"
    )
    reads: ClassVar[Reads] = "tokens"

    kind: Literal["transformer"]
    layers: int = Field(4, gt=0, le=1000, description="blocks of attention and dense layers")
    heads: int = Field(4, gt=0, description="of each attention; they share the width among them")
    width: int = Field(128, gt=0, description="numbers that stand for a token between the blocks")
    positions: Literal["learned", "rotary"] = Field(
        "learned", description="a vector for each place, or queries and keys turned by their place"
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="dropped in training: a share of what goes into the blocks and of what each half adds",
    )
    attention_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of attention's weights dropped in training; torch's fast kernel has none"
    )
    tied: bool = Field(True, description="whether the last layer's weights are those that stand for the tokens")
    norm: Literal["layer", "rms"] = Field("layer", description="before each attention, each dense part and the end")
    mlp_ratio: float = Field(4.0, gt=0, le=100, description="width between a block's dense layers, in widths")
    activation: Activation = Field("gelu", description="between a block's dense layers")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Transformer:
        each, left = divmod(self.width, self.heads)
        if left:
            raise ValueError(f"width should be a multiple of heads: {self.width} is none of {self.heads}")
        if self.positions == "rotary" and each % 2:
            raise ValueError(
                f"positions: rotary turns pairs of numbers, and a head has {each} (width {self.width} / heads "
                f"{self.heads}): take an even number"
            )
        return self

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.transformer import Transformer as Network

        return Network(
            vocabulary=outputs,
            context=input_shape[0],
            layers=self.layers,
            heads=self.heads,
            width=self.width,
            hidden=max(1, round(self.mlp_ratio * self.width)),
            positions=self.positions,
            tied=self.tied,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
        )


class Lstm(ModelSpec):
    """Recurrent network of long short-term memory cells; for text."""

    formula: ClassVar[str] = "i, f, o = σ(Wx + Uh + b), c' = f·c + i·tanh(Wx + Uh + b), h' = o·tanh(c')"
    source: ClassVar[str] = "Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000"
    reads: ClassVar[Reads] = "tokens"

    kind: Literal["lstm"]
    layers: int = Field(2, gt=0, le=100, description="cells on each other")
    width: int = Field(128, gt=0, description="numbers that stand for a token, and that each cell gives")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training before and after each cell")
    tied: bool = Field(True, description="whether the last layer's weights are those that stand for the tokens")

    @override
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        from nnopt.models.lstm import Lstm as Network

        return Network(outputs, self.layers, self.width, self.dropout, self.tied)
