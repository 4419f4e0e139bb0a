"""How new images are read into the shape of those that a model was trained on."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nnopt.data.layout import Layout, NewRows
from nnopt.data.sources.image_files import ImageFiles, Shape, examine_all
from nnopt.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageLayout(Layout):
    """Image files: one, or all in a folder and its folders, in the order of their names.

    Attributes:
        made: what every image is made.
    """

    kind: ClassVar[str] = "images"

    made: Shape

    def read(self, path: Path) -> NewRows:
        """As `Layout.read`: [n, channels, height, width] uint8, each named by its file."""
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        if path.is_file():
            return self._rows(path.parent, [path.name], path)
        names = []
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            names += [(Path(folder) / name).relative_to(path).as_posix() for name in files if not name.startswith(".")]
        if not names:
            raise DataError(f"{path} holds no images")
        return self._rows(path, sorted(names), path)

    def _rows(self, root: Path, names: list[str], asked: Path) -> NewRows:
        files = ImageFiles(tuple(names), self.made, root)
        examine_all(files.content, str(asked), names)
        return NewRows(files.read(np.arange(len(names))), names, "file")

    def record(self) -> dict[str, Any]:
        """As `Layout.record`."""
        return asdict(self.made)

    @classmethod
    def restore(cls, record: dict[str, Any]) -> ImageLayout:
        """As `Layout.restore`."""
        return cls(Shape(**record))
