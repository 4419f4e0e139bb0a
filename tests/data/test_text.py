"""Text: tokens, parts and windows; what cannot be read."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nnopt.data import encoding
from nnopt.data.batches import Order, Position
from nnopt.data.dataset import Dataset
from nnopt.data.feed import Feed
from nnopt.data.sources.text import TextLayout
from nnopt.data.tokens import RESTORE, BpeTokens, ByteTokens, CharacterTokens, Tokens, count_characters
from nnopt.data.windows import ShiftedWindows, Windows
from nnopt.errors import DataError
from nnopt.spec.data.text import Text

README = Path(__file__).parents[2] / "README.md"


def load(path: Path, **keys: Any) -> Dataset:
    return Text.model_validate({"kind": "text", "path": str(path), **keys}).load()


def fit(kind: str, text: bytes) -> Tokens:
    if kind == "byte":
        return ByteTokens()
    return CharacterTokens.fit(text) if kind == "character" else BpeTokens.fit(text, 300)


# ---------------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("kind", RESTORE)
def test_text_comes_back_as_it_was_and_so_does_a_recorded_vocabulary(kind: str) -> None:
    text = README.read_bytes() + "Größe: 3 µm — “naïve”\r\n\x00\t🙂".encode()
    tokens = fit(kind, text)
    numbers = tokens.encode(text)
    assert tokens.decode(numbers.tolist()) == text.decode()
    again = RESTORE[kind](json.loads(json.dumps(tokens.record())))
    assert again.names == tokens.names
    assert again.encode(text).tolist() == numbers.tolist()
    assert len(set(tokens.names)) == len(tokens.names) > numbers.max()
    assert all(name and name.isprintable() and not name.isspace() for name in tokens.names)


@given(st.binary(max_size=200))
def test_bytes_are_themselves_and_their_characters_are_counted(text: bytes) -> None:
    assert bytes(ByteTokens().encode(text).tolist()) == text
    valid = text.decode(errors="ignore")
    assert count_characters(valid.encode()) == len(valid)


@given(st.text(min_size=1, max_size=100), st.text(max_size=100))
def test_characters_that_were_not_there_are_one_token_or_an_error(known: str, other: str) -> None:
    strange = [place for place, character in enumerate(other) if character not in known]
    tokens = CharacterTokens.fit(known.encode(), [other.encode()])
    assert tokens.has_unknown == bool(strange)
    numbers = tokens.encode(other.encode()).tolist()
    assert [place for place, number in enumerate(numbers) if number == len(set(known))] == strange
    assert tokens.decode(numbers) == "".join(one if one in known else "�" for one in other)
    if strange:
        with pytest.raises(DataError, match=f"at place {strange[0] + 1} does not occur in the training text"):
            CharacterTokens.fit(known.encode()).encode(other.encode())


def test_byte_pairs_are_those_of_a_slow_twin() -> None:
    # Without spaces, so that all of it is one word and pairs may lie anywhere.
    text = b"abababcbcabcabcddabab" * 3
    tokens = BpeTokens.fit(text, 256 + 5)
    words = [bytes([one]) for one in text]
    for name in tokens.names[256:]:
        pairs = Counter(pairwise(words))
        often = max(pairs.values())
        assert name.encode() in {left + right for (left, right), times in pairs.items() if times == often}
        place, merged = 0, []
        while place < len(words):
            pair = b"".join(words[place : place + 2])
            merged.append(pair if pair == name.encode() else words[place])
            place += 2 if pair == name.encode() else 1
        words = merged
    assert len(tokens.names) == 256 + 5
    assert [tokens.names[number].encode() for number in tokens.encode(text)] == words


def test_byte_pairs_do_not_depend_on_the_process() -> None:
    program = (
        "import sys, hashlib; from nnopt.data.tokens import BpeTokens;"
        "print(hashlib.sha256(repr(BpeTokens.fit(sys.stdin.buffer.read(), 600).names).encode()).hexdigest())"
    )
    text = README.read_bytes()
    other = subprocess.run(
        [sys.executable, "-c", program], input=text, capture_output=True, check=True, env={"PYTHONHASHSEED": "1"}
    )
    names = BpeTokens.fit(text, 600).names
    assert other.stdout.decode().strip() == hashlib.sha256(repr(names).encode()).hexdigest()


# --------------------------------------------------------------------------------------------------- windows


@given(st.integers(1, 9), st.integers(2, 60), st.integers(0, 3), st.integers(0, 50))
def test_windows_follow_each_other_and_targets_are_what_comes_next(context: int, n: int, seed: int, epoch: int) -> None:
    if n <= context:
        return
    row = torch.arange(n, dtype=torch.uint8)
    still, moving = Windows(row, context), ShiftedWindows(row, context).for_seed(seed)
    for windows in (still, moving):
        inputs, targets = windows.gather(None, epoch)
        start = windows.start(epoch)
        assert inputs.shape == targets.shape == (len(windows), context)
        assert inputs.flatten().tolist() == list(range(start, start + inputs.numel()))
        assert torch.equal(targets, inputs + 1)
        assert targets.max() < n
        rows = torch.tensor([len(windows) - 1, 0])
        chosen = windows.gather(rows, epoch)
        assert torch.equal(chosen[0], inputs[rows])
        assert torch.equal(chosen[1], targets[rows])
    assert still.start(epoch) == 0
    assert n - 1 - len(still) * context < context  # nothing is left but less than a window
    assert moving.start(epoch) < context


def test_training_windows_begin_elsewhere_in_each_epoch_and_seed_and_a_feed_gives_them() -> None:
    part = ShiftedWindows(torch.arange(1000), 16)
    starts = {seed: [part.for_seed(seed).start(epoch) for epoch in range(200)] for seed in (0, 1)}
    assert starts[0] != starts[1]
    assert set(starts[0]) == set(range(16))
    feed = Feed(part, Order(1, len(part), torch.device("cpu")), 1)
    assert not feed.unchanging
    position = Position()
    for epoch in range(3):
        seen = torch.cat([feed.take(position, 20).inputs for _ in range(-(-len(part) // 20))])
        assert position.epoch == epoch + 1
        wanted = starts[1][epoch] + torch.arange(len(part) * 16)
        assert torch.equal(seen.flatten().sort().values, wanted)


# ----------------------------------------------------------------------------------------------------- parts


def test_the_parts_are_the_beginning_the_middle_and_the_end(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("é" * 500 + "b" * 400 + "c" * 100)  # 1500 bytes
    data = load(path, context=4, tokens="character", validation=400, test=100)
    assert data.classes == ("é", "<unknown>")
    assert (data.task, data.input_shape, data.outputs) == ("language", (4,), 2)
    assert (len(data.train), len(data.validation), len(data.test)) == (500 // 4 - 1, 399 // 4, 99 // 4)
    assert "400 characters of the validation part and 100 of the test part" in data.notes[0]
    inputs, targets = data.validation.gather(None)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.eq(1).all()
    as_bytes = load(path, context=4, tokens="byte", validation=0.4, test=0.2)
    assert as_bytes.characters == {"train": 0.5, "validation": pytest.approx(340 / 480, abs=0.2), "test": 1.0}
    assert len(as_bytes.classes) == 256
    assert data.characters == {"train": 1.0, "validation": 1.0, "test": 1.0}
    assert data.content_hash == as_bytes.content_hash


@pytest.mark.parametrize("tokens", ["character", "bpe"])
def test_no_part_begins_within_a_character(tmp_path: Path, tokens: str) -> None:
    path = tmp_path / "text"
    path.write_text("€🙂" * 300)
    for test in range(100, 108):
        data = load(path, context=2, tokens=tokens, vocabulary=260 if tokens == "bpe" else None, test=test)
        assert not data.notes


def test_the_vocabulary_is_fitted_on_the_training_part_alone(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"aab " * 500 + b"xyxyxyxyxyxyz " * 300)
    data = load(path, context=4, tokens="bpe", vocabulary=400, validation=2000, test=2200)
    assert all("x" not in name for name in data.classes[256:])
    assert any("a" in name for name in data.classes[256:])
    text = README.read_bytes()
    whole = load(README, tokens="bpe", vocabulary=500)
    for part, share in whole.characters.items():
        assert 1 < share < 5, part
    assert sum(len(one) for one in (whole.train, whole.validation, whole.test)) * 64 < len(text) / 1.3


def test_new_files_are_read_as_the_training_was(tmp_path: Path) -> None:
    data = load(README, context=16)
    assert data.encoding is not None
    again = encoding.restore(json.loads(json.dumps(data.encoding.record())))
    assert isinstance(again.layout, TextLayout)
    found = again.read(README)
    assert found.label_name == "position"
    assert list(found.labels) == [16 * place for place in range(len(found.labels))]
    text = README.read_text()[: found.inputs.numel()]
    seen = "".join(one if one in data.classes or one.isspace() else "�" for one in text)
    assert again.layout.tokens.decode(found.inputs.flatten().tolist()) == seen
    new = tmp_path / "new.txt"
    new.write_text("short")
    with pytest.raises(DataError, match="has 5 tokens, and the model reads 16 at once"):
        again.read(new)


@pytest.mark.parametrize(
    ("content", "keys", "message"),
    [
        (None, {}, "data.path: there is no file or folder"),
        (b"", {}, "is empty"),
        (b"a" * 100, {}, r"is too short: its validation part has 10 tokens, and a window of context 64 takes 65"),
        (b"a" * 1000, {"context": 960}, "its training part has 855 tokens"),
        (b"a" * 1000, {"test": 1000}, "test: 1000 of 1000 bytes leaves none to train on"),
        (b"line\nne\xffxt\n" * 99, {}, r"line 2 of the text is not UTF-8 \(byte 0xff\): convert the file, or take"),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_told(
    tmp_path: Path, content: bytes | None, keys: dict[str, Any], message: str
) -> None:
    path = tmp_path / "some.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as told:
        load(path, **keys)
    assert "some.txt" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the text .*: Is a directory"):
        load(tmp_path)


def test_bpe_without_its_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(Exception, match=r"pip install 'nnopt\[bpe\]'"):
        load(README, tokens="bpe")


def test_a_vocabulary_is_a_key_of_bpe() -> None:
    with pytest.raises(ValidationError, match="vocabulary is a key of tokens: bpe"):
        Text.model_validate({"kind": "text", "path": "x", "vocabulary": 500})
