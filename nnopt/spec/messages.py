"""pydantic's errors in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnopt.spec.base import show

Context = Mapping[str, Any]

WORDS: dict[str, Callable[[Context, str], str]] = {
    "missing": lambda ctx, got: "this key is missing",
    "float_type": lambda ctx, got: f"should be a number, not {got}",
    "int_type": lambda ctx, got: f"should be a whole number, not {got}",
    "int_from_float": lambda ctx, got: f"should be a whole number, not {got}",
    "bool_type": lambda ctx, got: f"should be true or false, not {got}",
    "string_type": lambda ctx, got: f"should be text (in quotes where it looks like something else), not {got}",
    "tuple_type": lambda ctx, got: f"should be a list such as [1, 2], not {got}",
    "dict_type": lambda ctx, got: f"should be a mapping of keys, not {got}",
    "model_type": lambda ctx, got: f"should be a mapping of keys, not {got}",
    "greater_than": lambda ctx, got: f"should be greater than {ctx['gt']:g}, not {got}",
    "greater_than_equal": lambda ctx, got: f"should be at least {ctx['ge']:g}, not {got}",
    "less_than": lambda ctx, got: f"should be less than {ctx['lt']:g}, not {got}",
    "less_than_equal": lambda ctx, got: f"should be at most {ctx['le']:g}, not {got}",
    "finite_number": lambda ctx, got: f"should be a finite number, not {got}",
    "literal_error": lambda ctx, got: f"should be one of {ctx['expected']}, not {got}",
    "too_short": lambda ctx, got: f"should have at least {ctx['min_length']} entries, not {ctx['actual_length']}",
    "too_long": lambda ctx, got: f"should have at most {ctx['max_length']} entries, not {ctx['actual_length']}",
    "string_pattern_mismatch": lambda ctx, got: f"does not fit the form {ctx['pattern']}: {got}",
}


def in_words(item: Mapping[str, Any]) -> str:
    """What is wrong and what is allowed, for one entry of `ValidationError.errors()`."""
    context = item.get("ctx", {})
    words = WORDS.get(str(item["type"]))
    if words is not None:
        return words(context, show(item.get("input")))
    message = str(context.get("text", item["msg"]))
    return message.removeprefix("Value error, ")
