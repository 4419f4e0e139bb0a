"""Where data sets lie on this computer, and how they get there: mirrors in turn, checked by checksum."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnopt.errors import DataError

DATA_DIR_VARIABLE = "NNOPT_DATA_DIR"


def data_folder(root: str | None) -> Path:
    """The folder that holds data sets: `root`, else NNOPT_DATA_DIR, else the user's cache folder."""
    chosen = root or os.environ.get(DATA_DIR_VARIABLE)
    if not chosen:
        import pooch

        chosen = str(pooch.os_cache("nnopt"))
    return Path(os.path.abspath(os.path.expanduser(chosen)))


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Make `folder` and hold it: of runs that start together one downloads, the others wait.

    Raises:
        DataError: the folder cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        why = error.strerror or error
        raise DataError(f"cannot write to {folder} ({why}): {elsewhere('a folder that can be written')}") from error
    try:
        yield
    finally:
        lock.release()


def fetch(name: str, known_hash: str, mirrors: Sequence[str], folder: Path, advice: str) -> Path:
    """Download one file; what is not complete and right leaves nothing behind.

    Args:
        name: the file's name, below each mirror and in `folder`.
        known_hash: `sha256:` or `md5:` and hexadecimal digits.
        mirrors: addresses that end in a slash, tried in turn.
        folder: where the file goes; it exists and is held (`writing_to`).
        advice: what to do without a network, for the message.

    Returns:
        The file's path.

    Raises:
        DataError: no mirror gave the file.
    """
    import pooch

    reasons = []
    for mirror in mirrors:
        try:
            return Path(pooch.retrieve(mirror + name, known_hash, fname=name, path=folder))
        except (
            OSError,
            ValueError,
        ) as error:  # requests' errors are OSErrors; pooch's wrong hash a ValueError
            reasons.append(f"{mirror}: {_reason(error)}")
    raise DataError(f"cannot download {name} ({'; '.join(reasons)}). {advice}")


def elsewhere(what: str) -> str:
    """How to name another folder, the end of a message."""
    return f"or set data.root or {DATA_DIR_VARIABLE} to {what}"


def _reason(error: Exception) -> str:
    """An error of a download in a few words."""
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, ValueError):
        return "the file there is another one: its checksum is wrong"
    return str(error).splitlines()[0][:120]
