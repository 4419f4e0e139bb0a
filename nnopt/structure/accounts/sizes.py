"""Bytes of a network on disk."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn


class _Counter(io.RawIOBase):
    """A file that keeps nothing but its length."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        length = memoryview(data).nbytes
        self.size += length
        return length


def bytes_on_disk(network: nn.Module) -> int:
    """The length of the file that torch.save writes of the network's state_dict, on the CPU, nothing shared.

    Tensors that are views of a larger one are written as tensors of their own; those that are one and the same
    (tied weights) once.
    """
    state: dict[str, Any] = network.state_dict()
    own: dict[tuple[int, torch.Size, tuple[int, ...], torch.dtype], Tensor] = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.numel():
            key = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            state[name] = own[key] if key in own else own.setdefault(key, value.detach().to("cpu", copy=True))
    file = _Counter()
    torch.save(state, file)  # type: ignore[arg-type]
    return file.size
