"""network.json of a run: what its network costs, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnopt.errors import RunsFolderError
from nnopt.store.files import write_json
from nnopt.store.json_file import read_json

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
    ended = status in ("done", "diverged", "pruned")
    why = "an earlier nnopt trained it: --fresh trains it again" if ended else "it is written when the run ends"
    content = read_json(folder / NETWORK, SCHEMA, f"has no {NETWORK}; {why}")
    if not isinstance(content.get("after"), dict):
        raise RunsFolderError(f"{folder / NETWORK} is damaged: it has no account of a network")
    return content
