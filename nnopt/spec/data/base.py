"""What every data set of a spec has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import override

from nnopt.data.fold import Fold
from nnopt.data.task import Task
from nnopt.spec.base import Items, KindSpec, mistake_at, show
from nnopt.spec.data.augment import AUGMENTS, AugmentSpec
from nnopt.spec.data.sampling import SAMPLINGS, SamplingSpec

if TYPE_CHECKING:
    from nnopt.data.dataset import Dataset
    from nnopt.data.raw import Raw
    from nnopt.data.selection import Selection

Normalise = Literal["unit", "standard", "none"]

TEST_HELP = "test rows, drawn before the others: a share of all rows (0 to 1), or a count"
VALIDATION_HELP = "validation rows: a share (0 to 1) of the rows that are not for test, or a count"
SPLIT_SEED_HELP = "seed of the split into parts; it stays the same for all seeds of an experiment"
NORMALISE_HELP = (
    "scale of the inputs, fitted on the training rows: unit (0 to 1), standard (mean 0, standard deviation 1) or none"
)


FOLDS_HELP = (
    "cross-validation: the rows that are not for test fall into so many folds, and the run with seed s is validated on "
    "fold s mod folds and trained on the others; every block of so many seeds has another partition"
)
CLASSES_HELP = "names or numbers of the classes to keep, in the order of their new numbers; empty: all"
FRACTION_HELP = (
    "how much of the training part is kept: a share, or a count of rows; classes keep their shares, and a smaller "
    "fraction is part of a larger one; validation and test rows stay the same"
)
IMBALANCE_HELP = "a stress test: class -> the share of its training rows that is kept, as {cat: 0.1}"
LABEL_NOISE_HELP = "a stress test: the share of training rows whose class is replaced by another, drawn at random"


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


Share = Annotated[float, Field(gt=0, le=1)]

ROOT_HELP = (
    "folder that holds the data set, or receives the download; else the environment variable NNOPT_DATA_DIR, "
    "else the user's cache folder"
)


class DataSpec(KindSpec):
    """A data set: where it comes from, how it is split and scaled.

    A subclass says what it asks for by `task`: a class variable, or a key where the user decides.
    """

    # Keys that name files and folders of the user's own.
    own_files: ClassVar[tuple[str, ...]] = ()

    augment: Items[Annotated[AugmentSpec, AUGMENTS]] = Field(
        (),
        description="random changes of the training samples, one after the other, drawn anew for every sample each "
        "time (`nnopt parts augment`); validation and test see the samples as they are",
    )

    sampling: Annotated[SamplingSpec, SAMPLINGS] | None = Field(
        None,
        description="how training samples are drawn into batches (`nnopt parts sampling`); none: each once an epoch, "
        "in a fresh order",
    )

    @property
    def asks(self) -> Task:
        """What is asked about a sample: known without loading, so that a spec can be checked where no data is."""
        task: Task = getattr(self, "task", "classification")
        return task

    @property
    def questions(self) -> Mapping[str, Task]:
        """Of several questions the name of each and what it asks for; empty where the keys do not tell."""
        return {}

    @abstractmethod
    def load(self) -> Dataset:
        """Read, split and normalise the data; downloads it where it is neither here nor embedded.

        Raises:
            DataError: data that cannot be had, is damaged, or has too few rows for this split.
        """

    def for_seed(self, seed: int) -> DataSpec:
        """The data of the run with this seed: the same for all, but where each has a fold of its own."""
        return self

    @property
    def drawn_for(self) -> tuple[int, ...]:
        """What `for_seed` changed, in numbers: () where the seeds of an experiment share one data set."""
        return ()

    def own_places(self) -> dict[str, str]:
        """Files and folders of the user's own, by the keys that name them."""
        found = {key: getattr(self, key) for key in self.own_files}
        return {key: path for key, path in found.items() if path is not None}

    def changed_at(self) -> float:
        """When the user's own files were last changed, in seconds since 1970; -inf where there are none."""
        from nnopt.data.paths import changed_at

        return max((changed_at(path, getattr(self, "root", None)) for path in self.own_places().values()), default=-inf)

    def available(self) -> str | None:
        """None where the user's own files are here and `load` needs no download, else the reason in words."""
        from nnopt.data.paths import missing

        root = getattr(self, "root", None)
        reasons = (missing(path, root, f"data.{key}") for key, path in self.own_places().items())
        return next((reason for reason in reasons if reason is not None), None)


class SplitSpec(DataSpec):
    """A data set of rows whose validation part is drawn at random."""

    validation: Amount = Field(0.15, description=VALIDATION_HELP)
    split_seed: int = Field(0, ge=0, lt=2**32, description=SPLIT_SEED_HELP)
    normalise: Normalise = Field("standard", description=NORMALISE_HELP)
    folds: int | None = Field(None, ge=2, description=FOLDS_HELP)
    classes: Items[str | int] = Field((), description=CLASSES_HELP)
    fraction: Amount | None = Field(None, description=FRACTION_HELP)
    imbalance: dict[str, Share] = Field({}, description=IMBALANCE_HELP)
    label_noise: float | None = Field(None, ge=0, le=1, description=LABEL_NOISE_HELP)

    _fold: Fold | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        if len(self.classes) == 1:
            raise mistake_at(("classes",), "one class leaves nothing to tell apart: name at least two")
        if len(set(map(str, self.classes))) < len(self.classes):
            raise mistake_at(("classes",), "a class is there twice")
        if self.folds is not None and self.validation != type(self).model_fields["validation"].default:
            raise mistake_at(("validation",), "folds decide the validation rows: leave one of the two out")
        return self

    @override
    def for_seed(self, seed: int) -> Self:
        """The data of the run with this seed: of `folds`, validation is fold `seed` mod folds."""
        if self.folds is None:
            return self
        found = self.model_copy()
        found._fold = Fold.of(self.folds, seed)
        return found

    @property
    @override
    def drawn_for(self) -> tuple[int, ...]:
        return () if self._fold is None else (self._fold.block, self._fold.place)

    @property
    def selection(self) -> Selection:
        """Which classes and training rows a run sees, and with which labels."""
        from nnopt.data.selection import Selection

        fold = self._fold or (Fold.of(self.folds, 0) if self.folds is not None else None)
        return Selection(self.classes, self.imbalance, self.fraction, self.label_noise or 0.0, fold)

    def prepared(self, raw: Raw, test: float | None) -> Dataset:
        """`raw` split and normalised as the keys say.

        `test` is the share or the count of test rows, None where `raw` has some.

        Raises:
            DataError: a part, or a class in the training part, would have no row.
        """
        from nnopt.data.prepare import prepare

        return prepare(
            self.kind,
            raw,
            validation=self.validation,
            test=test,
            split_seed=self.split_seed,
            normalise=self.normalise,
            selection=self.selection,
        )


class TestSplitSpec(SplitSpec):
    """A data set whose test part is drawn at random as well."""

    test: Amount = Field(0.2, description=TEST_HELP)

    @abstractmethod
    def read(self) -> Raw:
        """The content of the source.

        Raises:
            DataError: it cannot be had, or is damaged.
        """

    def load(self) -> Dataset:
        """Read, split and normalise the data."""
        raw = self.read()
        return self.prepared(raw, self.test if raw.test_inputs is None else None)
