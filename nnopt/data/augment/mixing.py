"""Pairs of samples made into one, and their targets with them."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from nnopt.data.augment.noise import inside
from nnopt.data.augment.transform import Transform
from nnopt.data.dataset import Dataset
from nnopt.errors import DataError

_CELLS = 4096  # of a half of the distribution; what lies between two is interpolated


class SymmetricBeta:
    """Draws from Beta(a, a) by its quantiles, tabulated: one uniform number a draw, on any device."""

    def __init__(self, a: float, device: torch.device) -> None:
        from scipy.special import betaincinv

        halves = betaincinv(a, a, torch.linspace(0, 0.5, _CELLS + 1, dtype=torch.float64).numpy())
        self.quantiles = torch.from_numpy(halves).float().to(device)  # up to the median, a half

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """[count]."""
        places = torch.rand(count, generator=generator, device=generator.device) * (2 * _CELLS)
        in_lower = torch.where(places < _CELLS, places, 2 * _CELLS - places)
        cells = in_lower.long().clamp(max=_CELLS - 1)
        low, high = self.quantiles[cells], self.quantiles[cells + 1]
        found = low + (in_lower - cells) * (high - low)
        return torch.where(places < _CELLS, found, 1 - found)


class Mixing(Transform):
    """Mixes each of a share of the samples with another of its batch, which is drawn at random."""

    mixes = True

    def __init__(self, alpha: float, share: float, data: Dataset) -> None:
        self.beta = SymmetricBeta(alpha, data.train.device)
        self.share = share
        self.classes = data.outputs if data.task == "classification" else None

    def partners(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The place in the batch of each sample's partner [n], and the share that the sample itself keeps [n]."""
        count = len(inputs)
        partners = torch.randperm(count, generator=generator, device=inputs.device)
        kept = self.beta.draw(count, generator)
        if self.share < 1:
            draws = torch.rand(count, generator=generator, device=inputs.device)
            kept = torch.where(draws < self.share, kept, torch.ones_like(kept))
        return partners, kept

    def mixed(self, targets: Tensor, partners: Tensor, kept: Tensor) -> Tensor:
        """The targets of samples that keep a share `kept` [n] of themselves; of classes [n, classes]."""
        if not targets.is_floating_point():
            assert self.classes is not None
            # torch's one_hot looks at the numbers on the host first.
            targets = (targets[:, None] == torch.arange(self.classes, device=targets.device)).float()
        return torch.lerp(targets.index_select(0, partners), targets, kept.view(-1, *([1] * (targets.ndim - 1))))


class MixUp(Mixing):
    """λx + (1 − λ)x′, λ from Beta(α, α) (Zhang et al. 2018)."""

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        partners, kept = self.partners(inputs, generator)
        weights = kept.view(-1, *([1] * (inputs.ndim - 1)))
        return torch.lerp(inputs.index_select(0, partners), inputs, weights), self.mixed(targets, partners, kept)


class CutMix(Mixing):
    """A rectangle of another image, of a share 1 − λ of the area, laid over the image (Yun et al. 2019).

    It lies around any pixel and is cut off at the edge; the targets follow the area that is left of it.
    """

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        height, width = inputs.shape[2:]
        partners, kept = self.partners(inputs, generator)
        side = (1 - kept).sqrt()
        middle = torch.rand(2, len(inputs), generator=generator, device=inputs.device)
        rows, columns = (middle[0] * height).floor(), (middle[1] * width).floor()
        tall, wide = (side * height).floor(), (side * width).floor()
        top, left = rows - (tall / 2).floor(), columns - (wide / 2).floor()
        covered = inside(height, width, top, left, top + tall, left + wide)
        kept = 1 - covered.float().mean((1, 2, 3))
        changed = torch.where(covered, inputs.index_select(0, partners), inputs)
        return changed, self.mixed(targets, partners, kept)


def check_can_mix(kind: str, data: Dataset) -> None:
    """Raises DataError where the targets have no mixture."""
    if data.task == "multitask":
        raise DataError(f"data.augment: {kind} mixes targets, which those of several questions do not allow")
