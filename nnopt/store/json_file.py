"""A JSON file of a run that says by which version of its form it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnopt.errors import RunsFolderError


def read_json(path: Path, schema: int, missing: str, remedy: str = "--fresh trains it again") -> dict[str, Any]:
    """The content of `path`, of a form up to `schema`.

    `missing` is what to say of the folder where there is no such file, `remedy` what to do where it is damaged.

    Raises:
        RunsFolderError: it is not there, damaged, or written by a newer nnopt.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise RunsFolderError(f"{path.parent} {missing}") from None
    except OSError as error:
        raise RunsFolderError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise RunsFolderError(f"{path} is damaged ({error}); {remedy}") from None
    if not isinstance(content, dict):
        raise RunsFolderError(f"{path} is damaged: it should hold a mapping; {remedy}")
    written = content.get("schema", schema)
    if not isinstance(written, int) or written > schema:
        raise RunsFolderError(f"{path} has schema {written}, and this nnopt reads up to {schema}: take a newer one")
    return content
