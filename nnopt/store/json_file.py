"""A JSON file of a run that says by which version of its form it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnopt.errors import RunsFolderError


def read_json(path: Path, schema: int, missing: str) -> dict[str, Any]:
    """The content of `path`, of a form up to `schema`; `missing` says why there may be no such file.

    Raises:
        RunsFolderError: it is not there, damaged, or written by a newer nnopt.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunsFolderError(f"{path.parent} has no {path.name}; {missing}") from None
    except OSError as error:
        raise RunsFolderError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise RunsFolderError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise RunsFolderError(f"{path} is damaged: it holds no mapping")
    if content.get("schema", schema) > schema:
        raise RunsFolderError(f"{path} was written by a newer nnopt: update this one")
    return content
