"""Which weights are removed: exactly so many, the least first, and never one back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WHOLE_NUMBERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of a weight


@torch.no_grad()
def extend(
    removed: Sequence[Tensor],
    scores: Sequence[Tensor],
    amount: float,
    by_layer: bool = False,
    n_of_m: tuple[int, int] | None = None,
) -> None:
    """Removes more weights, those of the least scores, until a share of all is gone.

    Of equal scores the one that lies further in front goes. What is not a number stays. `round(amount * weights)`
    weights are gone afterwards, where not more were already.

    Args:
        removed: for each layer what is gone, bool of the weight's shape; changed in place.
        scores: for each layer how much each weight matters, of the same shapes.
        amount: the share of the weights that is to be gone, of all layers together or of each.
        by_layer: whether the share holds in each layer.
        n_of_m: (n, m) where of each m weights in a row at most n stay. A row is what leads to one output, as it lies
            in memory: in·h·w weights. Once `amount` is 1 − n/m, that holds everywhere; before, the least of those
            that would go are gone.
    """
    masks = [mask.reshape(-1) for mask in removed]  # a copy, where a convolution's channels lie last
    ranks = [torch.nan_to_num(score.float(), nan=torch.inf, posinf=torch.inf).reshape(-1) for score in scores]
    if n_of_m is None:
        allowed, part = [torch.ones_like(mask) for mask in masks], amount
    else:
        allowed = [
            _lowest_of_rows(rank.masked_fill(mask, -torch.inf).view(len(whole), -1), *n_of_m)
            for rank, mask, whole in zip(ranks, masks, removed, strict=True)
        ]
        part = amount / (1.0 - n_of_m[0] / n_of_m[1])
    if by_layer:
        for mask, rank, candidates in zip(masks, ranks, allowed, strict=True):
            _grow(mask, rank, candidates, part)
    else:
        together = torch.cat(masks)
        _grow(together, torch.cat(ranks), torch.cat(allowed), part)
        masks = list(together.split_with_sizes([len(mask) for mask in masks]))
    for whole, mask in zip(removed, masks, strict=True):
        whole.copy_(mask.view(whole.shape))


def removable(shapes: Sequence[torch.Size], n_of_m: tuple[int, int] | None = None) -> int:
    """How many weights of layers of these shapes may go at most: all, or those beyond n of each m in a row."""
    if n_of_m is None:
        return sum(shape.numel() for shape in shapes)
    n, m = n_of_m
    total = 0
    for shape in shapes:
        groups, rest = divmod(shape[1:].numel(), m)
        total += shape[0] * (groups * (m - n) + max(0, rest - n))
    return total


def bits_kept(removed: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    """For each of `values` the bits that `set_to_zero` leaves: all of what stays, none of what is removed."""
    return [
        mask.logical_not().to(WHOLE_NUMBERS[value.element_size()]).neg_()
        for mask, value in zip(removed, values, strict=True)
    ]


def set_to_zero(values: Sequence[Tensor], kept: Sequence[Tensor]) -> None:
    """Sets what is removed to 0 in place, infinities and what is no number as well.

    Its bits are cleared: on a CPU a tenth of the time of masked_fill_, and after every update that counts.
    """
    for value, bits in zip(values, kept, strict=True):
        value.detach().view(bits.dtype).bitwise_and_(bits)


def _lowest_of_rows(scores: Tensor, n: int, m: int) -> Tensor:
    """For scores [rows, columns] which are not among the n highest of their m in a row, flat.

    The last group of a row is filled up with what counts as gone, so that at most n of it stay.
    """
    rows, columns = scores.shape
    missing = -columns % m
    groups = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf).view(rows, -1, m)
    lowest = groups.sort(dim=-1, stable=True).indices[..., : m - n]
    marks = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, lowest, True)
    return marks.view(rows, -1)[:, :columns].reshape(-1)


def _grow(removed: Tensor, scores: Tensor, allowed: Tensor, part: float) -> None:
    """Marks more of `removed`, flat, until the part `part` of what is allowed is gone."""
    count = round(part * int(allowed.sum())) - int(removed.sum())
    candidates = (allowed & ~removed).nonzero().flatten()
    count = min(count, len(candidates))
    if count <= 0:
        return
    values = scores[candidates]
    limit = values.kthvalue(count).values
    below = values < limit
    equal = (values == limit).nonzero().flatten()[: count - int(below.sum())]
    removed[candidates[below]] = True
    removed[candidates[equal]] = True
