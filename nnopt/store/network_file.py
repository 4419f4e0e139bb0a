"""network.json of a run: what its network costs, layer by layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnopt.errors import RunsFolderError
from nnopt.store.files import write_json

NETWORK = "network.json"
SCHEMA = 1


def write_network(folder: Path, content: dict[str, Any]) -> None:
    """Writes the file of the run in `folder`.

    Raises:
        DiskError: it cannot be written.
    """
    write_json(folder / NETWORK, {"schema": SCHEMA, **content}, sync=False)


def read_network(folder: Path, status: str) -> dict[str, Any]:
    """What it says: device, threads, precision, and the accounts `after` and `before` (None where nothing changed it).

    `status` is the run's, for the message.

    Raises:
        RunsFolderError: it is not there, damaged, or written by a newer nnopt.
    """
    path = folder / NETWORK
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        ended = status in ("done", "diverged", "pruned")
        why = "an earlier nnopt trained it: --fresh trains it again" if ended else "it is written when the run ends"
        raise RunsFolderError(f"{folder} has no {NETWORK}; {why}") from None
    except OSError as error:
        raise RunsFolderError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise RunsFolderError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("after"), dict):
        raise RunsFolderError(f"{path} is damaged: it has no account of a network")
    if content.get("schema", SCHEMA) > SCHEMA:
        raise RunsFolderError(f"{path} was written by a newer nnopt: update this one")
    return content
