"""What every model of a spec has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nnopt.spec.base import Items, KindSpec, mistake_at
from nnopt.spec.transfer import PATTERNS, InitFromSpec, UnfreezeSpec

if TYPE_CHECKING:
    from torch import nn

Reads = Literal["values", "tokens"]


class ModelSpec(KindSpec):
    """A network from inputs to outputs."""

    # What inputs are to it: numbers, or the numbers of tokens, for which it has outputs [n, length, outputs].
    reads: ClassVar[Reads] = "values"

    init_from: InitFromSpec | None = Field(
        None, description="trained weights to begin with: {run, weights} or {checkpoint}, only, leave_out"
    )
    freeze: Items[str] = Field((), description=f"{PATTERNS} that are not trained; batch norms keep their statistics")
    unfreeze: Items[UnfreezeSpec] = Field((), description="frozen parameters that train later: {parameters, at}")

    @model_validator(mode="after")
    def _something_is_frozen(self) -> Self:
        if self.unfreeze and not self.freeze:
            raise mistake_at(("unfreeze",), "is for what freeze names, and nothing is frozen")
        return self

    @property
    def is_transferred(self) -> bool:
        """Whether it begins with trained weights, or some of its parameters do not train."""
        return self.init_from is not None or bool(self.freeze)

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """The model on the CPU, for inputs [n, *input_shape], with outputs [n, outputs].

        Its random initial weights come from torch's default generator.

        Raises:
            DataError: a model that does not fit these inputs, in words.
        """
