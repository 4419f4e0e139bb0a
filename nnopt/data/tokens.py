"""Text as numbers: bytes, characters, or pieces of words that occur often (byte-pair encoding)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from nnopt.data.raw import Array
from nnopt.errors import DataError, UsageError

UNKNOWN = "<unknown>"
_AT_ONCE = 1 << 20  # characters, whose code points and places take 12 bytes each


class Tokens(ABC):
    """A vocabulary, fitted on the training part of a text, and the way from text to token numbers and back.

    Attributes:
        names: what to call each token in a table, in the order of their numbers; no two alike.
    """

    kind: ClassVar[str]
    names: tuple[str, ...]

    @abstractmethod
    def encode(self, text: bytes) -> Array:
        """The token numbers [n] of a text, in the smallest type of numpy that holds the vocabulary.

        Raises:
            DataError: what the vocabulary has no token for, in words.
        """

    @abstractmethod
    def decode(self, numbers: Sequence[int]) -> str:
        """The text of these tokens; bytes that are no UTF-8 become a replacement character."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Plain values for JSON, without `kind`."""

    @classmethod
    @abstractmethod
    def restore(cls, record: dict[str, Any]) -> Self:
        """The vocabulary whose `record` this is."""


class ByteTokens(Tokens):
    """The 256 bytes: no text is unknown to it."""

    kind = "byte"

    def __init__(self) -> None:
        self.names = tuple(_name(chr(byte)) if byte < 128 else f"\\x{byte:02x}" for byte in range(256))

    @override
    def encode(self, text: bytes) -> Array:
        return np.frombuffer(text, np.uint8)

    @override
    def decode(self, numbers: Sequence[int]) -> str:
        return bytes(numbers).decode(errors="replace")

    @override
    def record(self) -> dict[str, Any]:
        return {}

    @classmethod
    @override
    def restore(cls, record: dict[str, Any]) -> Self:
        return cls()


class CharacterTokens(Tokens):
    """The characters of a text in the order of their code points and, where asked, one token for all others."""

    kind = "character"

    def __init__(self, characters: str, has_unknown: bool) -> None:
        self.characters = characters
        self.has_unknown = has_unknown
        self.names = (*map(_name, characters), *([UNKNOWN] if has_unknown else []))
        self._codes = _codes(characters)

    @classmethod
    def fit(cls, text: bytes, others: Sequence[bytes] = ()) -> Self:
        """The characters of `text`; with a token for unknown ones where `others` have some.

        Raises:
            DataError: one of them is not UTF-8.
        """
        known = set(_decoded(text))
        has_unknown = any(set(_decoded(other)) - known for other in others)
        return cls("".join(sorted(known)), has_unknown)

    @override
    def encode(self, text: bytes) -> Array:
        characters = _decoded(text)
        numbers = np.empty(len(characters), smallest_type(len(self.names)))
        for start in range(0, len(characters), _AT_ONCE):
            part = characters[start : start + _AT_ONCE]
            codes = _codes(part)
            places = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
            strange = self._codes[places] != codes
            if strange.any() and not self.has_unknown:
                place = int(strange.argmax())
                raise DataError(
                    f"the character {part[place]!r} at place {start + place + 1} does not occur in the training text"
                )
            numbers[start : start + len(part)] = np.where(strange, len(self.characters), places)
        return numbers

    @override
    def decode(self, numbers: Sequence[int]) -> str:
        # U+FFFD marks what cannot be shown.
        return "".join(self.characters[one] if one < len(self.characters) else "�" for one in numbers)

    @override
    def record(self) -> dict[str, Any]:
        return {"characters": self.characters, "has_unknown": self.has_unknown}

    @classmethod
    @override
    def restore(cls, record: dict[str, Any]) -> Self:
        return cls(record["characters"], record["has_unknown"])


class BpeTokens(Tokens):
    """Byte-pair encoding: the 256 bytes, and pairs of tokens that follow each other often, joined one after the other.

    Sennrich, Haddow and Birch 2016, arXiv:1508.07909; on bytes as in GPT-2 (Radford et al. 2019), so that no text is
    unknown to it. Fitted and applied by the package `tokenizers`.
    """

    kind = "bpe"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.names = tuple(tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size()))

    @classmethod
    def fit(cls, text: bytes, size: int) -> Self:
        """At most `size` tokens; fewer where the text has no more pairs that occur twice.

        Raises:
            DataError: the text is not UTF-8.
            UsageError: the package is not installed.
        """
        tokenizers = _tokenizers()
        from tokenizers import decoders, models, pre_tokenizers, trainers

        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        tokenizer.train_from_iterator([_decoded(text)], trainer)
        return cls(tokenizer)

    @override
    def encode(self, text: bytes) -> Array:
        numbers = self._tokenizer.encode(_decoded(text)).ids
        return np.array(numbers, dtype=smallest_type(len(self.names)))

    @override
    def decode(self, numbers: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(numbers), skip_special_tokens=False))

    @override
    def record(self) -> dict[str, Any]:
        return {"tokenizer": json.loads(self._tokenizer.to_str())}

    @classmethod
    @override
    def restore(cls, record: dict[str, Any]) -> Self:
        return cls(_tokenizers().Tokenizer.from_str(json.dumps(record["tokenizer"])))


RESTORE: dict[str, Callable[[dict[str, Any]], Tokens]] = {
    one.kind: one.restore for one in (ByteTokens, CharacterTokens, BpeTokens)
}


def smallest_type(count: int) -> type[np.generic]:
    """The smallest type of numpy and torch that holds the numbers from 0 to `count` − 1."""
    return np.uint8 if count <= 2**8 else np.int16 if count <= 2**15 else np.int32


def count_characters(text: bytes) -> int:
    """How many characters a text in UTF-8 has: its bytes without those that go on with one."""
    codes = np.frombuffer(text, np.uint8)
    return int(np.count_nonzero((codes & 0xC0) != 0x80))


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"line {line} of the text is not UTF-8 (byte {error.object[error.start]:#04x}): "
            "convert the file, or take tokens: byte"
        ) from None


def _codes(text: str) -> Array:
    """The code points [n]."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _name(character: str) -> str:
    """The character itself where it can be seen, else as Python writes it."""
    if character == " ":
        return "\\x20"
    return character if character.isprintable() else repr(character)[1:-1]


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UsageError("tokens: bpe needs the package tokenizers: pip install 'nnopt[bpe]'") from None
    return tokenizers
