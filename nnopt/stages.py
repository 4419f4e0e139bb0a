"""The stages of an update, marked where they happen, for whoever measures how long they take.

A mark costs a fraction of a microsecond while nobody watches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

# They add up to an update: every moment of it belongs to one of them.
STAGES = ("data", "forward", "backward", "optimizer", "synchronisation", "other")
# Pieces of a stage that are worth telling apart.
PARTS = {"gathering": "data", "waiting": "data", "augmentation": "data", "average": "other"}


class Watch(Protocol):
    """Hears where stages begin and end; within one another may begin, whose time is not the outer one's."""

    def enter(self, name: str) -> None:
        """One of STAGES or PARTS begins."""
        ...

    def leave(self) -> None:
        """The one that began last ends."""
        ...


class _Mark:
    __slots__ = ("name", "watch")

    def __init__(self, watch: Watch, name: str) -> None:
        self.watch = watch
        self.name = name

    def __enter__(self) -> None:
        self.watch.enter(self.name)

    def __exit__(self, *error: object) -> None:
        self.watch.leave()


class _Unwatched:
    """Half the cost of contextlib.nullcontext."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        pass


_UNWATCHED = _Unwatched()
_watch: Watch | None = None


def stage(name: str) -> AbstractContextManager[None]:
    """Marks what the `with` block does as one of STAGES or PARTS."""
    return _UNWATCHED if _watch is None else _Mark(_watch, name)


@contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """While the block lasts, `watch` hears of the marks of this process."""
    global _watch
    before, _watch = _watch, watch
    try:
        yield
    finally:
        _watch = before
