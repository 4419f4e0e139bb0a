"""Data sets of rows that need not lie in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from typing_extensions import override

from nnopt.errors import DataError
from nnopt.spec.base import NOT_IDENTITY
from nnopt.spec.data.base import TestSplitSpec

if TYPE_CHECKING:
    from nnopt.data.dataset import Dataset
    from nnopt.data.raw import Raw

IN_MEMORY_HELP = (
    "whether the rows are held in memory: true, false (each batch is read when it is wanted) or auto (held where their "
    "tensors take at most an eighth of the memory); the numbers of a run are the same"
)
WORKERS_HELP = "threads that read rows ahead of need: files and images; 0 reads them in between"


class StreamingSpec(TestSplitSpec):
    """A data set whose source gives rows one by one, so that it may be larger than memory."""

    in_memory: bool | Literal["auto"] = Field("auto", description=IN_MEMORY_HELP, json_schema_extra=NOT_IDENTITY)
    workers: int = Field(2, ge=0, le=256, description=WORKERS_HELP, json_schema_extra=NOT_IDENTITY)

    @override
    def prepared(self, raw: Raw, test: float | None) -> Dataset:
        """`raw` split and normalised as the keys say, held or read when wanted.

        Raises:
            DataError: as `SplitSpec.prepared`; a row cannot be read, or there is not enough memory to hold them.
        """
        from nnopt.data.reading import Readers, placed

        readers = Readers(self.workers)
        try:
            inputs = placed(raw.inputs, self.in_memory, readers)
            others = None if raw.test_inputs is None else placed(raw.test_inputs, self.in_memory, readers)
            return super().prepared(replace(raw, inputs=inputs, test_inputs=others, workers=self.workers), test)
        except MemoryError as error:
            raise DataError(
                f"data.in_memory: its {len(raw.inputs):,} rows need more memory than there is: write false"
            ) from error
