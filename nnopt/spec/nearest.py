"""The name that a misspelt one is most likely meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: object, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of `names`, or nothing."""
    close = closest(word, names)
    return f"; did you mean '{close}'?" if close else ""


def closest(word: object, names: Iterable[str]) -> str | None:
    """The one of `names` that `word` is most likely meant to be, if any comes near."""
    close = difflib.get_close_matches(str(word), list(names), n=1, cutoff=0.55)
    return close[0] if close else None
