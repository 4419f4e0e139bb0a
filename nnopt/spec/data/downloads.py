"""Sets of images that are downloaded once."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pydantic import Field

from nnopt.spec.base import NOT_IDENTITY
from nnopt.spec.data.base import NORMALISE_HELP, ROOT_HELP, VALIDATION_HELP, Amount, Normalise, SplitSpec

if TYPE_CHECKING:
    from nnopt.data.dataset import Dataset
    from nnopt.data.raw import Raw


class _Source(Protocol):
    def read(self, root: str | None) -> Raw: ...

    def missing(self, root: str | None) -> str | None: ...


class _Downloaded(SplitSpec):
    """A set of images in files, with an official test part."""

    validation: Amount = Field(5000, description=VALIDATION_HELP)
    normalise: Normalise = Field("unit", description=NORMALISE_HELP)
    root: str | None = Field(None, pattern=r"^[^\x00]+$", description=ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    @abstractmethod
    def _source(self) -> _Source: ...

    def load(self) -> Dataset:
        """Read (or download), split and normalise the data."""
        return self.prepared(self._source().read(self.root), None)

    def available(self) -> str | None:
        """None where the files are here, else which ones are missing and where."""
        return self._source().missing(self.root)


class Mnist(_Downloaded):
    """MNIST: 60000 and 10000 handwritten digits, grey images of 28x28 pixels, 10 classes; 11 MB."""

    kind: Literal["mnist"]
    source: ClassVar[str] = "LeCun and others: Gradient-based learning applied to document recognition, 1998"

    def _source(self) -> _Source:
        from nnopt.data.sources import mnist

        return mnist.SOURCE


class FashionMnist(_Downloaded):
    """Fashion-MNIST: 60000 and 10000 pictures of clothes, grey images of 28x28 pixels, 10 classes; 31 MB."""

    kind: Literal["fashion_mnist"]
    source: ClassVar[str] = "Xiao, Rasul and Vollgraf 2017, https://arxiv.org/abs/1708.07747"

    def _source(self) -> _Source:
        from nnopt.data.sources import fashion_mnist

        return fashion_mnist.SOURCE


class Cifar10(_Downloaded):
    """CIFAR-10: 50000 and 10000 colour images of 32x32 pixels, 10 classes; 170 MB."""

    kind: Literal["cifar10"]
    source: ClassVar[str] = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"

    def _source(self) -> _Source:
        from nnopt.data.sources import cifar10

        return cifar10.SOURCE
