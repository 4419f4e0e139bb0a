"""What a trained network answers to all samples of a data set, asked once and kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nnopt.structure.distill.features import caught

# What outputs of layers may take on the device. Beyond, the teacher computes them for each batch.
MOST_BYTES = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Asked:
    """A network's outputs [n, k] for n samples, and those of its layers [n, ...] by name, where they were kept."""

    outputs: Tensor
    features: dict[str, Tensor]

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return sum(tensor.nbytes for tensor in (self.outputs, *self.features.values()))


@torch.no_grad()
def ask(network: nn.Module, chunks: Iterable[Tensor], layers: Sequence[str] = ()) -> Asked:
    """The answers of `network`, in evaluation mode from then on, to all samples of the chunks [n, ...]."""
    network.eval()
    outputs: list[Tensor] = []
    features: dict[str, list[Tensor]] = {name: [] for name in layers}
    with caught(network, layers) as found:
        for part in chunks:
            outputs.append(network(part).float())
            for name, kept in features.items():
                kept.append(found[name].float())
    return Asked(torch.cat(outputs), {name: torch.cat(kept) for name, kept in features.items()})


@torch.no_grad()
def bytes_of_features(network: nn.Module, sample: Tensor, layers: Sequence[str]) -> int:
    """What the outputs of `layers` for one sample [1, ...] take."""
    one = ask(network, [sample], layers)
    return sum(tensor.nbytes for tensor in one.features.values())


@dataclass
class Memory:
    """Answers that were asked for, the latest as far as they fit together."""

    held: dict[Hashable, Asked] = field(default_factory=dict)

    def get(self, key: Hashable, compute: Callable[[], Asked]) -> Asked:
        """What is kept under `key`, else what `compute` gives, which is kept from then on."""
        if key not in self.held:
            self.held[key] = compute()
            while len(self.held) > 1 and sum(asked.bytes for asked in self.held.values()) > MOST_BYTES:
                del self.held[next(iter(self.held))]
        return self.held[key]
