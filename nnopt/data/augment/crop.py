"""Windows cut out of images that have a margin added."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from nnopt.data.augment.pixels import Pixels
from nnopt.data.augment.transform import Transform

_FILLS = {"edge": "replicate", "mirror": "reflect"}


class Crop(Transform):
    """A window of the image's own size, anywhere in the image with `margin` pixels added on every side.

    Beyond the edge all is black ("black"), as the edge is ("edge"), or mirrored at the outermost pixel ("mirror").
    """

    def __init__(self, margin: int, fill: str, pixels: Pixels) -> None:
        self.margin = margin
        self.fill = fill
        self.pixels = pixels

    @override
    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        count, channels, height, width = inputs.shape
        device, margins = inputs.device, [self.margin] * 4
        if self.fill == "black":
            padded = self.pixels.from_black(F.pad(self.pixels.above_black(inputs), margins))
        else:
            padded = F.pad(inputs, margins, mode=_FILLS[self.fill])
        corners = torch.randint(2 * self.margin + 1, (2, count, 1), generator=generator, device=device)
        rows = corners[0] + torch.arange(height, device=device)  # [n, h]
        columns = corners[1] + torch.arange(width, device=device)  # [n, w]
        places = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).view(count, 1, -1)
        found = padded.flatten(2).gather(2, places.expand(-1, channels, -1))
        return found.view(inputs.shape), targets
