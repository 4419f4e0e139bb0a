"""When Python looks for garbage: not while modules load, and not once more as the program ends.

A program that uses torch and pandas has some 200,000 objects as it begins. Going through all of them again and again
takes a fifth of the time that loading takes, and more than half a second at the end.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def while_loading() -> Iterator[None]:
    """Looks for no garbage in the block, and later for none among the objects that are there at its end."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def leave_all_at_the_end() -> None:
    """What is there as the program ends goes with its memory, without being looked through."""
    atexit.register(gc.freeze)
