"""Text of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from nnopt.data.task import Task
from nnopt.spec.base import NOT_IDENTITY
from nnopt.spec.data.base import ROOT_HELP, Amount, DataSpec

if TYPE_CHECKING:
    from nnopt.data.dataset import Dataset

VOCABULARY = 1024


class Text(DataSpec):
    """A text file, whose next token a model foretells at every place: for transformer and lstm.

    The first part of the file is for training, the next for validation, the last for test. Windows of the training part
    begin elsewhere in every epoch.
    """

    task: ClassVar[Task] = "language"
    source: ClassVar[str] = "a file of your own; bpe: Sennrich, Haddow and Birch 2016, arXiv:1508.07909"
    own_files: ClassVar[tuple[str, ...]] = ("path",)

    kind: Literal["text"]
    path: str = Field(
        pattern=r"^[^\x00]+$",
        description="the file: relative to the working directory or, where it is not there, to the data folder",
    )
    tokens: Literal["byte", "character", "bpe"] = Field(
        "character",
        description="what the text is cut into: bytes, the characters of the training part (others become one unknown "
        "token), or byte-pair encoding, fitted on the training part (pip install 'nnopt[bpe]')",
    )
    vocabulary: int | None = Field(
        None, ge=257, le=1_000_000, description=f"how many tokens bpe has at most; {VOCABULARY} where it is left out"
    )
    context: int = Field(64, gt=0, description="tokens of a window: how many a model sees at once")
    validation: Amount = Field(0.1, description="a share (0 to 1) of what the test part leaves, or a count of bytes")
    test: Amount = Field(0.05, description="the end of the text: a share of it (0 to 1), or a count of bytes")
    root: str | None = Field(None, pattern=r"^[^\x00]+$", description=ROOT_HELP, json_schema_extra=NOT_IDENTITY)

    @model_validator(mode="after")
    def _vocabulary_is_of_bpe(self) -> Text:
        if self.vocabulary is not None and self.tokens != "bpe":
            raise ValueError(f"vocabulary is a key of tokens: bpe, and these are {self.tokens} tokens: leave it out")
        return self

    @override
    def load(self) -> Dataset:
        """Read the text, fit the vocabulary, cut it into parts and windows."""
        from nnopt.data.paths import find
        from nnopt.data.sources import text

        vocabulary = self.vocabulary or VOCABULARY
        return text.load(find(self.path, self.root), self.tokens, vocabulary, self.context, self.validation, self.test)
