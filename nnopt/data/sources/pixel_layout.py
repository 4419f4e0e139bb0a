"""How new images are read for the well-known sets of images, whose pixels are numbers of a size of their own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from nnopt.data.layout import Layout, NewRows
from nnopt.data.sources.arrays import read_npy
from nnopt.data.sources.image_files import Shape
from nnopt.data.sources.image_layout import ImageLayout
from nnopt.errors import DataError


@dataclass(frozen=True)
class PixelLayout(Layout):
    """Image files, resized where need be; or a .npy file of images whose pixels are as the set has them.

    Attributes:
        made: what every image file is made.
        largest: a pixel of the set at its brightest; image files have 255.
    """

    kind: ClassVar[str] = "pixels"
    made: Shape
    largest: float = 255.0

    @override
    def read(self, path: Path) -> NewRows:
        if path.suffix.lower() != ".npy":
            rows = ImageLayout(self.made).read(path)
            if self.largest == 255:
                return rows
            return NewRows(rows.inputs * (self.largest / 255), rows.labels, rows.label_name)
        found = np.asarray(read_npy(path))
        size = (self.made.height, self.made.width)
        if found.ndim == 3 and self.made.channels == 1:
            found = found[:, None]
        if found.shape[1:] != (self.made.channels, *size):
            wanted = f"{self.made.channels}x{size[0]}x{size[1]}"
            raise DataError(
                f"{path} holds {list(found.shape)}: it should be [images, channels, rows, columns], {wanted}"
            )
        return NewRows(found, range(len(found)))

    @override
    def record(self) -> dict[str, Any]:
        return {"made": asdict(self.made), "largest": self.largest}

    @classmethod
    @override
    def restore(cls, record: dict[str, Any]) -> Self:
        return cls(Shape(**record["made"]), record["largest"])
