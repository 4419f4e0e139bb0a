"""What nnopt writes as YAML it reads back as the same values."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nnopt.spec.identity import to_yaml
from nnopt.spec.yaml_reader import read_text

NASTY = [
    "", " ", "  x ", "1e-3", "010", "1:30", "on", "no", "null", "~", "true", "nan", ".inf", "-.INF", "0x1F", "1_000",
    "a: b", "a #b", "#", "- a", "-", "?", "? a", ":", ": a", "*a", "&a", "!a", "!!int", "|", ">", "%a", "@a", "`a`",
    "[", "]", "{", "}", "[]", "{}", ",", "'", '"', "\\", "'a", '"a', "a'b\"c", "\n", "a\nb", "a\n", "\ta", "a\tb",
    "\r", "a\r\nb", "\x00", "\x07", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffe", "\U0010ffff", "é", "😀",
    "---", "...", "--- a", "<<", "=", "2020-01-01", "é: 1", "a" * 300, "a b " * 60, "a: b " * 40, "1.", "+", ".", "..",
]  # fmt: skip

texts = st.sampled_from(NASTY) | st.text(st.characters(codec="utf-8"), max_size=30)
keys = texts.filter(lambda key: key != "<<")  # refused as a key, so that nobody takes it for YAML's merging
scalars = (
    texts
    | st.none()
    | st.booleans()
    | st.integers(-(10**248), 10**248)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types all through: 1 is not 1.0, and 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return bool(a == b)


def reread(value: Any) -> Any:
    """`value` written and read again."""
    node = read_text(to_yaml(value), "f")
    return None if node is None else node.plain()


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(keys, values, max_size=5))
@example({"a": {}, "b": [], "c": [[]], "d": [{}], "e": {"f": {}}})
@example({"a": -0.0, "b": 5e-324, "c": 1.7976931348623157e308, "d": 1e16, "e": 0.1})
def test_all_values_survive(value: dict[str, Any]) -> None:
    assert same(reread(value), value)


@pytest.mark.parametrize("text", NASTY)
def test_nasty_texts_survive_as_values(text: str) -> None:
    assert reread({"a": text, "b": [text], "c": {"d": text}}) == {"a": text, "b": [text], "c": {"d": text}}


@pytest.mark.parametrize("text", [text for text in NASTY if text != "<<"])
def test_nasty_texts_survive_as_keys(text: str) -> None:
    assert reread({text: 1, "z": {text: {}}}) == {text: 1, "z": {text: {}}}


def test_one_value_in_two_places_is_written_twice() -> None:
    shared = [1, 2]
    assert "*" not in to_yaml({"a": shared, "b": shared})
