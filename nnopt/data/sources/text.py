"""A text file: its tokens in three consecutive parts, cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from typing_extensions import override

from nnopt.data.dataset import Dataset
from nnopt.data.encoding import Encoding
from nnopt.data.layout import Layout, NewRows
from nnopt.data.raw import Array, digest
from nnopt.data.tokens import RESTORE, BpeTokens, ByteTokens, CharacterTokens, Tokens, count_characters
from nnopt.data.windows import ShiftedWindows, Windows
from nnopt.errors import DataError

PARTS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class TextLayout(Layout):
    """Windows of tokens.

    Attributes:
        tokens: the vocabulary.
        context: how many tokens a window has.
    """

    kind = "text"
    tokens: Tokens
    context: int

    @override
    def read(self, path: Path) -> NewRows:
        numbers = self.numbers(path)
        count = len(numbers) // self.context
        if count == 0:
            raise DataError(f"{path} has {len(numbers)} tokens, and the model reads {self.context} at once")
        starts = np.arange(count) * self.context
        return NewRows(numbers[: count * self.context].reshape(count, -1), starts.tolist(), "position")

    def numbers(self, path: Path) -> Array:
        """The tokens of a text file, [n] int64.

        Raises:
            DataError: it cannot be read, or has what the vocabulary has no token for.
        """
        try:
            return self.tokens.encode(read_bytes(path)).astype(np.int64)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    @override
    def record(self) -> dict[str, Any]:
        return {"context": self.context, "tokens": {"kind": self.tokens.kind, **self.tokens.record()}}

    @classmethod
    @override
    def restore(cls, record: dict[str, Any]) -> Self:
        return cls(RESTORE[record["tokens"]["kind"]](record["tokens"]), record["context"])


def load(path: Path, tokens: str, vocabulary: int, context: int, validation: float, test: float) -> Dataset:
    """The text in `path`, its first part to train on, the next for validation, the last for test.

    Args:
        path: the file.
        tokens: byte, character or bpe; the last two are fitted on the training part.
        vocabulary: how many tokens bpe has at most.
        context: tokens of a window.
        validation: a share of what test leaves, or a count of bytes.
        test: a share of the whole, or a count of bytes.

    Raises:
        DataError: a file that cannot be read, is not UTF-8 where it has to be, or is too short for a part to have a
            window.
        UsageError: a package that is not installed.
    """
    content = read_bytes(path)
    try:
        parts = _cut(content, validation, test)
        found = _fit(tokens, vocabulary, *parts)
        numbers = [found.encode(part) for part in parts]
    except DataError as error:
        raise DataError(f"data.path: {path}: {error}") from None
    for name, part in zip(PARTS, numbers, strict=True):
        if len(part) <= context:
            raise DataError(
                f"data.path: {path} is too short: its {name} part has {len(part)} tokens, and a window of context "
                f"{context} takes {context + 1}; take a smaller context, or a longer text"
            )
    train, held, last = (torch.from_numpy(part.copy()) for part in numbers)
    return Dataset(
        name="text",
        train=ShiftedWindows(train, context),
        validation=Windows(held, context),
        test=Windows(last, context),
        task="language",
        classes=found.names,
        target_mean=torch.zeros(1),
        target_scale=torch.ones(1),
        content_hash=digest(content),
        encoding=Encoding(TextLayout(found, context), None),
        notes=_notes(found, numbers),
        characters={
            name: count_characters(part) / len(own)
            for name, part, own in zip(("train", "validation", "test"), parts, numbers, strict=True)
        },
    )


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the text {path}: {error.strerror}") from None
    if not content:
        raise DataError(f"{path} is empty")
    return content


def _cut(content: bytes, validation: float, test: float) -> list[bytes]:
    """The three parts, first to last, none of which begins within a character of UTF-8."""
    rest = len(content) - _bytes("test", test, len(content))
    train = rest - _bytes("validation", validation, rest)
    places = [0, *(_between_characters(content, place) for place in (train, rest)), len(content)]
    return [content[start:end] for start, end in pairwise(places)]


def _bytes(part: str, amount: float, whole: int) -> int:
    count = amount if isinstance(amount, int) else round(amount * whole)
    if count >= whole:
        raise DataError(f"{part}: {count} of {whole} bytes leaves none to train on: ask for fewer")
    return int(count)


def _between_characters(content: bytes, place: int) -> int:
    for later in range(place, min(place + 4, len(content))):
        if content[later] & 0xC0 != 0x80:
            return later
    return place


def _fit(tokens: str, vocabulary: int, train: bytes, validation: bytes, test: bytes) -> Tokens:
    if tokens == "byte":
        return ByteTokens()
    if tokens == "bpe":
        return BpeTokens.fit(train, vocabulary)
    return CharacterTokens.fit(train, (validation, test))


def _notes(tokens: Tokens, numbers: list[Array]) -> tuple[str, ...]:
    if not (isinstance(tokens, CharacterTokens) and tokens.has_unknown):
        return ()
    strange = [int((part == len(tokens.characters)).sum()) for part in numbers[1:]]
    note = (
        f"{strange[0]} characters of the validation part and {strange[1]} of the test part do not occur in the "
        "training part: all of them count as one unknown token"
    )
    return (note,)
