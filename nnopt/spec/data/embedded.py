"""Small data sets that come with scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from nnopt.data.task import Task
from nnopt.spec.data.base import NORMALISE_HELP, Normalise, TestSplitSpec

if TYPE_CHECKING:
    from nnopt.data.raw import Raw


class Digits(TestSplitSpec):
    """Handwritten digits: 1797 grey images of 8x8 pixels, 10 classes; embedded."""

    kind: Literal["digits"]
    normalise: Normalise = Field("unit", description=NORMALISE_HELP)
    source: ClassVar[str] = "Alpaydin and Kaynak 1998, https://doi.org/10.24432/C50P49"

    def read(self) -> Raw:
        """The content of the source."""
        from nnopt.data.sources import digits

        return digits.read()


class BreastCancer(TestSplitSpec):
    """Breast cancer Wisconsin (diagnostic): 569 rows of 30 features, 2 classes; embedded."""

    kind: Literal["breast_cancer"]
    source: ClassVar[str] = "Wolberg and others 1995, https://doi.org/10.24432/C5DW2B"

    def read(self) -> Raw:
        """The content of the source."""
        from nnopt.data.sources import breast_cancer

        return breast_cancer.read()


class Diabetes(TestSplitSpec):
    """Diabetes progression: 442 rows of 10 features, one real-valued target; embedded."""

    kind: Literal["diabetes"]
    task: ClassVar[Task] = "regression"
    source: ClassVar[str] = "Efron, Hastie, Johnstone and Tibshirani: Least Angle Regression, 2004"

    def read(self) -> Raw:
        """The content of the source."""
        from nnopt.data.sources import diabetes

        return diabetes.read()


class Wine(TestSplitSpec):
    """Wine recognition: 178 rows of 13 features, 3 classes; embedded."""

    kind: Literal["wine"]
    source: ClassVar[str] = "Aeberhard and Forina 1991, https://doi.org/10.24432/C5PC7J"

    def read(self) -> Raw:
        """The content of the source."""
        from nnopt.data.sources import wine

        return wine.read()
