"""The data sets that a spec can name."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from nnopt.spec.base import NOT_IDENTITY, Kinds, KindSpec, show

if TYPE_CHECKING:
    from nnopt.data.dataset import Dataset
    from nnopt.data.raw import Raw, Task

Normalise = Literal["unit", "standard", "none"]

_TEST = "test rows, drawn before the others: a share of all rows (0 to 1), or a count"
_VALIDATION = "validation rows: a share (0 to 1) of the rows that are not for test, or a count"
_SPLIT_SEED = "seed of the split into parts; it stays the same for all seeds of an experiment"
_NORMALISE = (
    "scale of the inputs, fitted on the training rows: unit (0 to 1), standard (mean 0, standard deviation 1) or none"
)
_ROOT = (
    "folder that holds the data set, or receives the download; else the environment variable NNOPT_DATA_DIR, "
    "else the user's cache folder"
)


def _share_or_count(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise PydanticCustomError(
        "amount",
        f"should be a share above 0 and below 1, or a whole number of rows from 1, not {show(value)}",
    )


Amount = Annotated[
    int | float,
    BeforeValidator(_share_or_count),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ]
        }
    ),
]


class DataSpec(KindSpec):
    """A data set: where it comes from, how it is split and scaled."""

    # Known without loading, so that a spec can be checked where the data is not at hand.
    task: ClassVar[Task] = "classification"

    @abstractmethod
    def load(self) -> Dataset:
        """Read, split and normalise the data; downloads it where it is neither here nor embedded.

        Raises:
            DataError: data that cannot be had, is damaged, or has too few rows for this split.
        """

    def available(self) -> str | None:
        """None where `load` needs no download, else the reason in words."""
        return None


class _Embedded(DataSpec):
    """A small data set that comes with scikit-learn."""

    validation: Amount = Field(0.15, description=_VALIDATION)
    test: Amount = Field(0.2, description=_TEST)
    split_seed: int = Field(0, ge=0, lt=2**32, description=_SPLIT_SEED)
    normalise: Normalise = Field("standard", description=_NORMALISE)

    @abstractmethod
    def _read(self) -> Raw: ...

    def load(self) -> Dataset:
        """Read, split and normalise the data."""
        from nnopt.data.prepare import prepare

        return prepare(
            self.kind,
            self._read(),
            validation=self.validation,
            test=self.test,
            split_seed=self.split_seed,
            normalise=self.normalise,
        )


class _Source(Protocol):
    def read(self, root: str | None) -> Raw: ...

    def missing(self, root: str | None) -> str | None: ...


class _Images(DataSpec):
    """A set of images in files, with an official test part."""

    validation: Amount = Field(5000, description=_VALIDATION)
    split_seed: int = Field(0, ge=0, lt=2**32, description=_SPLIT_SEED)
    normalise: Normalise = Field("unit", description=_NORMALISE)
    root: str | None = Field(None, pattern=r"^[^\x00]+$", description=_ROOT, json_schema_extra=NOT_IDENTITY)

    @abstractmethod
    def _source(self) -> _Source: ...

    def load(self) -> Dataset:
        """Read (or download), split and normalise the data."""
        from nnopt.data.prepare import prepare

        return prepare(
            self.kind,
            self._source().read(self.root),
            validation=self.validation,
            test=None,
            split_seed=self.split_seed,
            normalise=self.normalise,
        )

    def available(self) -> str | None:
        """None where the files are here, else which ones are missing and where."""
        return self._source().missing(self.root)


class Digits(_Embedded):
    """Handwritten digits: 1797 grey images of 8x8 pixels, 10 classes; embedded."""

    kind: Literal["digits"]
    normalise: Normalise = Field("unit", description=_NORMALISE)
    source: ClassVar[str] = "Alpaydin and Kaynak 1998, https://doi.org/10.24432/C50P49"

    def _read(self) -> Raw:
        from nnopt.data.sources import digits

        return digits.read()


class BreastCancer(_Embedded):
    """Breast cancer Wisconsin (diagnostic): 569 rows of 30 features, 2 classes; embedded."""

    kind: Literal["breast_cancer"]
    source: ClassVar[str] = "Wolberg and others 1995, https://doi.org/10.24432/C5DW2B"

    def _read(self) -> Raw:
        from nnopt.data.sources import breast_cancer

        return breast_cancer.read()


class Diabetes(_Embedded):
    """Diabetes progression: 442 rows of 10 features, one real-valued target; embedded."""

    kind: Literal["diabetes"]
    task: ClassVar[Task] = "regression"
    source: ClassVar[str] = "Efron, Hastie, Johnstone and Tibshirani: Least Angle Regression, 2004"

    def _read(self) -> Raw:
        from nnopt.data.sources import diabetes

        return diabetes.read()


class Wine(_Embedded):
    """Wine recognition: 178 rows of 13 features, 3 classes; embedded."""

    kind: Literal["wine"]
    source: ClassVar[str] = "Aeberhard and Forina 1991, https://doi.org/10.24432/C5PC7J"

    def _read(self) -> Raw:
        from nnopt.data.sources import wine

        return wine.read()


class Mnist(_Images):
    """MNIST: 60000 and 10000 handwritten digits, grey images of 28x28 pixels, 10 classes; 11 MB."""

    kind: Literal["mnist"]
    source: ClassVar[str] = "LeCun and others: Gradient-based learning applied to document recognition, 1998"

    def _source(self) -> _Source:
        from nnopt.data.sources import mnist

        return mnist.SOURCE


class FashionMnist(_Images):
    """Fashion-MNIST: 60000 and 10000 pictures of clothes, grey images of 28x28 pixels, 10 classes; 31 MB."""

    kind: Literal["fashion_mnist"]
    source: ClassVar[str] = "Xiao, Rasul and Vollgraf 2017, https://arxiv.org/abs/1708.07747"

    def _source(self) -> _Source:
        from nnopt.data.sources import fashion_mnist

        return fashion_mnist.SOURCE


class Cifar10(_Images):
    """CIFAR-10: 50000 and 10000 colour images of 32x32 pixels, 10 classes; 170 MB."""

    kind: Literal["cifar10"]
    source: ClassVar[str] = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"

    def _source(self) -> _Source:
        from nnopt.data.sources import cifar10

        return cifar10.SOURCE


DATA = Kinds("data set", DataSpec, (Digits, BreastCancer, Diabetes, Wine, Mnist, FashionMnist, Cifar10))
