"""YAML with its traps closed: what is read is what is written."""

from __future__ import annotations

from typing import Any

import pytest

from nnopt.errors import SpecError
from nnopt.spec.yaml_reader import MAX_DEPTH, MAX_NODES, read_text


def read(text: str) -> Any:
    """The plain value of a document."""
    node = read_text(text, "f")
    return None if node is None else node.plain()


def refusal(text: str) -> str:
    """Why a document is refused."""
    with pytest.raises(SpecError) as caught:
        read_text(text, "f")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # PyYAML reads 1e-3 as text, 010 as eight, 0o10 as text, 1:30 as ninety and 1_000 as a thousand.
        ("1e-3", 0.001),
        ("1E+3", 1000.0),
        ("-.5e2", -50.0),
        ("3.", 3.0),
        ("1e-400", 0.0),
        ("010", 10),
        ("-007", -7),
        ("+3", 3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("0o10", "0o10"),
        ("1__0", "1__0"),
        ("1 000", "1 000"),
        ("١٢", "١٢"),
        ("2020-01-01", "2020-01-01"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("nano", "nano"),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
        ("'nan'", "nan"),
        ("|\n  two\n  lines", "two\nlines"),
        ("! 3", 3),
        ("=", "="),
    ],
)
def test_a_scalar_is_what_it_looks_like(written: str, value: Any) -> None:
    found = read(f"key: {written}")
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize("key", ["on", "no", "3", "1e-3", "true", "null", "~", "nan", "2020-01-01"])
def test_a_key_stays_text(key: str) -> None:
    assert read(f"{key}: 1") == {key: 1}


@pytest.mark.parametrize("number", [".nan", ".NaN", "nan", "-.inf", "+.INF", "inf", "Infinity", "-infinity", "1e999"])
def test_nan_and_infinity_are_no_values(number: str) -> None:
    assert refusal(f"a: 1\nkey: [0, {number}]").startswith(f"f:2: {number} is")


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 5000, "0x" + "f" * 5000, "9" * 5000 + ".0", "1" * 251])
def test_a_number_of_thousands_of_digits_is_refused_in_words(digits: str) -> None:
    assert refusal(f"key: {digits}") == "f:1: a number of more than 250 digits"


def test_a_whole_number_of_250_digits_is_read_and_is_a_float_too() -> None:
    assert float(read("key: " + "9" * 250)["key"]) == 1e250


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: the key 'a' is written twice (first on line 1)"),
        ("{a: 1, 'a': 2}", "f:1: the key 'a' is written twice (first on line 1)"),
        ("x:\n  a: 1\n  a: 1", "f:3: the key 'a' is written twice (first on line 2)"),
        ("? [a]\n: 1", "f:1: a key should be a plain name"),
        ("a: {? {b: 1} : 2}", "f:1: a key should be a plain name"),
        ("b: &b {c: 1}\n<<: *b", "f:2: merge keys (<<) are not read; variants are merged over the keys above them"),
        ("a: !!python/object:os.system x", "f:1: the tag !!python/object:os.system builds nothing here"),
        ("a: !!int 3", "f:1: the tag !!int builds nothing here"),
        ("a: !mine {b: 1}", "f:1: the tag !mine builds nothing here"),
        ("a: 1\n---\nb: 2", "f:2: a second document begins here; a spec is one document"),
        ("a: *b", "f:1: the alias *b comes before its anchor &b"),
        ("a: &x {b: *x}", "f:1: the alias *x contains itself"),
        ("a: [1,", "f:1: not YAML: "),
        ("a: b: c", "f:1: not YAML: mapping values are not allowed here"),
        ("a: 1\n\tb: 2", "f:2: not YAML: found character '\\t' that cannot start any token (indent with spaces)"),
        ("a: 1\nb: @x", "f:2: not YAML: found character '@'"),
        ("a: 1\nb: \x07", "f:2: not YAML: the character #x0007 is no text"),
        ('a: 1\nb: "\\ud800"', "f:2: half a character"),
        ('a: "\\UFFFFFFFF"', "f: not YAML: an escape names no character"),
        ("%YAML 9.9\n---\na: 1", "f:1: not YAML: found incompatible YAML document"),
    ],
)
def test_a_trap_is_an_error_with_its_line(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_nesting_ends_at_its_bound(opening: str, closing: str) -> None:
    assert read(opening * MAX_DEPTH + closing * MAX_DEPTH) is not None
    assert refusal(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1)) == f"f:1: nested more than {MAX_DEPTH} deep"
    assert refusal(opening * 100_000) == f"f:1: nested more than {MAX_DEPTH} deep"


def test_an_alias_is_as_deep_as_what_it_repeats() -> None:
    half = MAX_DEPTH // 2
    inner, outer = "[" * half, "]" * half
    assert read(f"[&x {'[' * (half - 1)}{']' * (half - 1)}, {'[' * half}*x{']' * half}]") is not None
    assert refusal(f"[&x {inner}{outer}, {inner}*x{outer}]") == f"f:1: nested more than {MAX_DEPTH} deep"


def test_aliases_are_counted_at_full_size() -> None:
    row = f"[{', '.join(['x'] * 99)}]"
    fits = MAX_NODES // 100 - 2
    assert len(read(f"[&a {row}, {', '.join(['*a'] * fits)}]")) == fits + 1
    assert "more than 20,000 values" in refusal(f"[&a {row}, {', '.join(['*a'] * (fits + 2))}]")


def test_an_alias_reads_as_what_it_repeats() -> None:
    assert read("a: &a {b: [1, 2]}\nc: *a") == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


def test_every_value_knows_its_line() -> None:
    node = read_text("a: 1\nb:\n  c:\n    - 5\n    - {d: 6}\n", "f")
    assert node is not None
    assert node.line_of(("b", "c", 1, "d")) == (5, 4)
    assert node.line_of(("b", "c", 0)) == (4, 3)
    assert node.line_of(("b", "x")) == (2, 1)
    assert node.line_of(("b", "c", 7)) == (3, 2)
    assert node.line_of(()) == (1, 0)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "---"])
def test_nothing_is_no_document(text: str) -> None:
    assert read(text) is None


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read("\ufeffa: 1") == {"a": 1}
