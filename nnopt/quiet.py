"""Calls of libraries that would otherwise print, warn, or report on their users."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence


@contextlib.contextmanager
def quiet(loggers: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Within, these loggers and all warnings are silent, and variables are set that the user has not set."""
    added = {name: value for name, value in environment.items() if name not in os.environ}
    levels = {name: logging.getLogger(name).level for name in loggers}
    os.environ.update(added)
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
