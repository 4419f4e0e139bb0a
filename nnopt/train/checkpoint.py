"""Checkpoints: state on disk that is whole, checked, and readable with `torch.load(weights_only=True)`.

Each file carries a SHA-256 over its own content, so a flipped byte is found wherever the file was copied. `last` and
`previous` hold everything that changes during training; `best` holds weights alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnopt.errors import CheckpointError
from nnopt.store.files import refusals, write_whole

FORMAT = 1
FOLDER = "checkpoints"
LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


def checksum(value: Any) -> str:
    """SHA-256 over nested dicts and lists of tensors, numbers, texts and None: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    _digest(value, digest)
    return digest.hexdigest()


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` with its checksum, whole.

    Raises:
        DiskError: the disk refused; an older file of this name is as it was.
    """
    # torch.save into memory first: on a full disk it would destroy an old file and hide the reason.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "checksum": checksum(content), **content}, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, its tensors on the CPU.

    Raises:
        CheckpointError: it is missing, damaged, or of another format.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there") from None
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        raise CheckpointError(f"{path} is damaged ({type(error).__name__})") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this version")
    content = {key: value for key, value in found.items() if key not in ("format", "checksum")}
    if checksum(content) != found.get("checksum"):
        raise CheckpointError(f"{path} is damaged (its checksum does not fit)")
    return content


def save_last(folder: Path, content: dict[str, Any]) -> None:
    """Writes `last`, what was last before becoming `previous`; at every moment one of the two is whole."""
    last, previous = folder / LAST, folder / PREVIOUS
    if last.exists():
        temporary = previous.with_name(f".{PREVIOUS}.tmp")
        with refusals(previous):
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            try:
                os.link(last, temporary)
            except OSError:  # a disk without hard links: for a moment only `previous` is there
                os.replace(last, previous)
            else:
                os.replace(temporary, previous)
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()  # renaming one name of a file to another name of it does nothing (POSIX)
    save(last, content)


def put_previous_first(folder: Path) -> None:
    """Copies `previous` over a damaged `last`, which the next save would otherwise put in the whole one's place."""
    write_whole(folder / LAST, (folder / PREVIOUS).read_bytes())


def load_latest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole state, or None where no checkpoint was ever written, and what was wrong with newer ones.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
    """
    problems: list[str] = []
    for name in (LAST, PREVIOUS):
        if not (folder / name).exists():
            continue
        try:
            return load(folder / name), problems
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(f"{'; '.join(problems)}: no checkpoint is left; `nnopt train --fresh` begins again")
    return None, problems


def _digest(value: Any, digest: Any) -> None:
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous()
        digest.update(f"tensor {data.dtype} {tuple(data.shape)};".encode())
        flat = data.reshape(-1)
        if flat.stride(0) != 1:  # one number of any stride is contiguous, and a damaged file may hold such
            flat = flat.clone(memory_format=torch.contiguous_format)
        digest.update(flat.view(torch.uint8).numpy())
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)};".encode())
        for key, item in value.items():
            digest.update(f"{key!r}:".encode())
            _digest(item, digest)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for item in value:
            _digest(item, digest)
    else:
        digest.update(f"{type(value).__name__} {value!r};".encode())
