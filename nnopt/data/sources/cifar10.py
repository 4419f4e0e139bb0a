"""CIFAR-10: 60000 colour images of 32x32 pixels, from the binary archive.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009.
https://www.cs.toronto.edu/~kriz/cifar.html

Six files of 10000 records: one byte for the label, then 3072 for the red, green and blue planes. The archive
in Python's own format is a pickle, which can run code when read; this one cannot.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnopt.data.download import data_folder, elsewhere, fetch, writing_to
from nnopt.data.raw import Array, Raw, digest, joined_digest
from nnopt.data.sources.image_files import Shape
from nnopt.data.sources.pixel_layout import PixelLayout
from nnopt.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORDS, RECORD_BYTES = 10_000, 1 + 3 * 32 * 32


@dataclass(frozen=True)
class CifarSource:
    """The files of CIFAR-10 below a data folder.

    Attributes:
        mirrors: addresses that end in a slash.
        archive_hash: of the archive, as `sha256:...`.
        archive: the archive's name; it may lie in `folder`.
        folder: the folder below the data folder.
        batches_folder: the folder of the six files, in the archive and below `folder`.
        batches: the names of the six files, the test part last.
    """

    mirrors: tuple[str, ...]
    archive_hash: str
    archive: str = "cifar-10-binary.tar.gz"
    folder: str = "cifar10"
    batches_folder: str = "cifar-10-batches-bin"
    batches: tuple[str, ...] = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")

    def missing(self, root: str | None) -> str | None:
        """Why the data cannot be read without a download, or None where it can."""
        folder = data_folder(root) / self.folder
        lacking = self._lacking(folder / self.batches_folder)
        if not lacking or (folder / self.archive).is_file():
            return None
        return f"CIFAR-10 is not at hand: {folder / self.batches_folder} lacks {', '.join(lacking)}"

    def read(self, root: str | None) -> Raw:
        """Inputs [50000, 3, 32, 32] uint8, targets [50000] int64, and 10000 test rows; downloaded if need be.

        Raises:
            DataError: a file that cannot be had, or is damaged.
        """
        folder = data_folder(root) / self.folder
        batches = folder / self.batches_folder
        if self._lacking(batches):
            self._obtain(folder)
        n = RECORDS * len(self.batches)
        images, labels = np.empty((n, 3, 32, 32), np.uint8), np.empty(n, np.int64)
        digests = []
        for number, name in enumerate(self.batches):
            records = _read_batch(batches / name)
            digests.append(digest(records))
            rows = slice(number * RECORDS, (number + 1) * RECORDS)
            labels[rows] = records[:, 0]
            images[rows] = records[:, 1:].reshape(-1, 3, 32, 32)
        train, test = slice(0, n - RECORDS), slice(n - RECORDS, n)
        return Raw(
            inputs=images[train],
            targets=labels[train],
            classes=CLASSES,
            content_hash=joined_digest(digests),
            largest=255.0,
            layout=PixelLayout(Shape(3, 32, 32)),
            test_inputs=images[test],
            test_targets=labels[test],
        )

    def _lacking(self, batches: Path) -> list[str]:
        return [name for name in self.batches if not (batches / name).is_file()]

    def _obtain(self, folder: Path) -> None:
        """Unpack the archive, downloaded unless it lies in `folder` already."""
        advice = (
            f"Put {self.archive} into {folder}, or {', '.join(self.batches)} into "
            f"{folder / self.batches_folder}, "
            f"{elsewhere(f'the folder that holds them in {self.folder}/')}"
        )
        archive = folder / self.archive
        with writing_to(folder):
            if not self._lacking(folder / self.batches_folder):
                return
            at_hand = archive.is_file()
            if not at_hand:
                fetch(self.archive, self.archive_hash, self.mirrors, folder, advice)
            self._unpack(archive, folder / self.batches_folder)
            if not at_hand:
                archive.unlink()

    def _unpack(self, archive: Path, batches: Path) -> None:
        """Write the six files of the archive; no other member is read, no path of the archive is used."""
        try:
            contents = self._members(archive)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _damaged(archive, str(error)) from error
        except OSError as error:
            raise DataError(f"cannot read {archive}: {error.strerror or error}") from error
        lacking = [name for name in self.batches if name not in contents]
        if lacking:
            raise _damaged(archive, f"it holds no {', '.join(lacking)} of {RECORDS * RECORD_BYTES} bytes")
        try:
            for name, content in contents.items():
                _write_whole(batches / name, content)
        except OSError as error:
            raise DataError(f"cannot unpack {archive} into {batches}: {error.strerror or error}") from error

    def _members(self, archive: Path) -> dict[str, bytes]:
        """The content of the six files, by name."""
        wanted = {f"{self.batches_folder}/{name}": name for name in self.batches}
        contents: dict[str, bytes] = {}
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                name = wanted.get(member.name)
                right = member.isreg() and member.size == RECORDS * RECORD_BYTES
                file = members.extractfile(member) if name and right else None
                if name and file:
                    contents[name] = file.read()
            while stream.read(1 << 20):  # to its end, where the checksum of the whole lies
                pass
        return contents


def _read_batch(path: Path) -> Array:
    """The records of one file: [10000, 3073] uint8."""
    size = RECORDS * RECORD_BYTES
    try:
        length = path.stat().st_size
        records = np.fromfile(path, np.uint8) if length == size else np.empty(0, np.uint8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if length != size:
        raise _damaged(path, f"it should hold {size} bytes and has {length}")
    records = records.reshape(RECORDS, RECORD_BYTES)
    if records[:, 0].max() >= len(CLASSES):
        raise _damaged(path, f"it has the label {records[:, 0].max()}, but there are {len(CLASSES)} classes")
    return records


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged: {why}. Delete it to have it downloaded again, or put the right file there")


SOURCE = CifarSource(
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    archive_hash="sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
