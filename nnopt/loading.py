"""What Python leaves alone while modules load, and as the program ends: garbage, and Ctrl-C.

A program that uses torch and pandas has some 200,000 objects as it begins. Going through all of them again and again
takes a fifth of the time that loading takes, and more than half a second at the end. A KeyboardInterrupt in the middle
of a library's import can be lost in C code that expects no error there, or end the process with a C++ exception.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def while_loading() -> Iterator[None]:
    """Looks for no garbage in the block, and later for none among the objects that are there at its end.

    Raises:
        KeyboardInterrupt: at the end of the block, where Ctrl-C was pressed in it; twice, at once.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        with _interrupted_at_the_end():
            yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


@contextlib.contextmanager
def _interrupted_at_the_end() -> Iterator[None]:
    """Where Ctrl-C is what it is by default: somebody else's handler stays."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


def leave_all_at_the_end() -> None:
    """What is there as the program ends goes with its memory, without being looked through."""
    atexit.register(gc.freeze)
