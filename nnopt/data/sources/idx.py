"""Data sets in MNIST's four files, in the IDX format: http://yann.lecun.com/exdb/mnist/

A file starts with two zero bytes, the type of its values (8: unsigned bytes), the number of dimensions, and
each dimension in four bytes, high byte first; then come the values.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from nnopt.data.download import data_folder, elsewhere, fetch, writing_to
from nnopt.data.raw import Array, Raw, digest, joined_digest
from nnopt.data.sources.image_files import Shape
from nnopt.data.sources.pixel_layout import PixelLayout
from nnopt.errors import DataError

SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


@dataclass(frozen=True)
class IdxSource:
    """Four IDX files of 28x28 images in ten classes.

    Attributes:
        title: the data set's name in messages.
        folder: the folder below the data folder.
        mirrors: addresses that end in a slash.
        gzip_hashes: of the .gz files, in the order of `SHAPES`, as `sha256:...` or `md5:...`.
        classes: the names of the ten classes.
        content_hashes: SHA-256 of the files inside, where their publisher gives them.
        mistaken_for: title of another set with files of these names, and the SHA-256 of its training images.
    """

    title: str
    folder: str
    mirrors: tuple[str, ...]
    gzip_hashes: tuple[str, ...]
    classes: tuple[str, ...]
    content_hashes: tuple[str, ...] = ()
    mistaken_for: tuple[str, str] | None = None

    def missing(self, root: str | None) -> str | None:
        """Why the data cannot be read without a download, or None where it can."""
        folder = data_folder(root) / self.folder
        lacking = self._lacking(folder)
        return f"{self.title} is not at hand: {folder} lacks {', '.join(lacking)}" if lacking else None

    def read(self, root: str | None) -> Raw:
        """Inputs [60000, 1, 28, 28] uint8, targets [60000] int64, and 10000 test rows; downloaded if need be.

        Raises:
            DataError: a file that cannot be had, or is damaged.
        """
        folder = data_folder(root) / self.folder
        if self._lacking(folder):
            self._download(folder)
        arrays, digests = [], []
        for place, (name, shape) in enumerate(SHAPES.items()):
            array, hashed = self._read_file(_find(folder, name), shape, place)
            arrays.append(array)
            digests.append(hashed)
        images, labels, test_images, test_labels = arrays
        return Raw(
            inputs=images[:, None],
            targets=labels.astype(np.int64),
            classes=self.classes,
            content_hash=joined_digest(digests),
            largest=255.0,
            layout=PixelLayout(Shape(1, 28, 28)),
            test_inputs=test_images[:, None],
            test_targets=test_labels.astype(np.int64),
        )

    def _lacking(self, folder: Path) -> list[str]:
        """The .gz files that are there neither packed nor unpacked."""
        return [f"{name}.gz" for name in SHAPES if not _find(folder, name).is_file()]

    def _download(self, folder: Path) -> None:
        advice = (
            f"Put {', '.join(f'{name}.gz' for name in SHAPES)} into {folder}, "
            f"{elsewhere(f'the folder that holds them in {self.folder}/')}"
        )
        hashes = dict(zip(SHAPES, self.gzip_hashes, strict=True))
        with writing_to(folder):
            for packed in self._lacking(folder):
                fetch(packed, hashes[packed.removesuffix(".gz")], self.mirrors, folder, advice)

    def _read_file(self, path: Path, shape: tuple[int, ...], place: int) -> tuple[Array, str]:
        """The values of one file and the SHA-256 of its content; `place` is its place in `SHAPES`."""
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        content = _content(path, len(header) + prod(shape))
        hashed = digest(content)
        if not content.startswith(header):
            raise _damaged(path, f"it holds no {'x'.join(map(str, shape))} bytes in the IDX format")
        if self.content_hashes and hashed != self.content_hashes[place]:
            raise _damaged(path, f"its content is not that of {self.title} (SHA-256 {hashed})")
        if self.mistaken_for and hashed == self.mistaken_for[1]:
            raise _damaged(path, f"its content is that of {self.mistaken_for[0]}, not of {self.title}")
        values = np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
        if len(shape) == 1 and values.max() >= len(self.classes):
            raise _damaged(path, f"it has the label {values.max()}, but there are {len(self.classes)} classes")
        return values, hashed


def _find(folder: Path, name: str) -> Path:
    """The unpacked file where there is one (faster to read), else the path of the packed one."""
    unpacked = folder / name
    return unpacked if unpacked.is_file() else folder / f"{name}.gz"


def _content(path: Path, size: int) -> bytes:
    """The content of `path`, unpacked where it is a .gz; never reads much more than `size` bytes of it."""
    try:
        if path.suffix != ".gz":
            length = path.stat().st_size
            content = path.read_bytes() if length == size else b""
        else:
            content = _unpack(path, size)
            length = len(content)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if length != size:
        raise _damaged(path, f"it should hold {size} bytes and has {'more' if length > size else length}")
    return content


def _unpack(path: Path, size: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(path.read_bytes(), size + 1)
    except zlib.error as error:
        raise _damaged(path, f"it cannot be unpacked ({error})") from error
    if len(content) <= size and not unpacker.eof:
        raise _damaged(path, "it ends too early")
    return content


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged: {why}. Delete it to have it downloaded again, or put the right file there")
