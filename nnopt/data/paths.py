"""Where a user's own files lie."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

from nnopt.data.download import data_folder
from nnopt.errors import DataError


def find(path: str, root: str | None, key: str = "data.path") -> Path:
    """The file or folder that a spec names, as an absolute path.

    Args:
        path: as the spec has it: absolute (`~` is the home folder), relative to the working directory, or, where
            nothing lies there, relative to the data folder.
        root: the data folder; None for NNOPT_DATA_DIR, else the user's cache folder.
        key: the key that holds the path, for the message.

    Raises:
        DataError: nothing lies there, or it may not be looked at.
    """
    near = Path(path).expanduser()
    places = [near.absolute()]
    if not near.is_absolute():
        places.append(data_folder(root) / near)
    try:
        for place in places:
            if place.exists():
                return place
    except OSError as error:
        raise DataError(f"{key}: cannot look for {path}: {error.strerror or error}") from error
    raise DataError(f"{key}: there is no file or folder {path} (looked in {' and '.join(map(str, places))})")


def missing(path: str, root: str | None, key: str = "data.path") -> str | None:
    """Why `find` would not find it, or None where it does."""
    try:
        find(path, root, key)
    except DataError as error:
        return str(error)
    return None


def changed_at(path: str, root: str | None) -> float:
    """When a file, or a folder or anything below it, was last changed, in seconds since 1970; -inf where it is gone."""
    try:
        place = find(path, root)
        below = (Path(top) / name for top, folders, files in os.walk(place) for name in (*folders, *files))
        return max(one.lstat().st_mtime for one in (place, *below))
    except (DataError, OSError):
        return -inf
