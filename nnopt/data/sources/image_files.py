"""Image files as arrays of one shape: decoded by Pillow, turned as the camera was held, resized, grey or in colour."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nnopt.data.raw import Array
from nnopt.errors import DataError

Fit = Literal["stretch", "crop", "pad"]
SHOWN = 5  # files that a message names
_GREY = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"}
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, rows and columns change places
_MOST_THREADS = 8


@dataclass(frozen=True)
class Shape:
    """What every image is made: channels (1 grey, 3 colour), rows, columns, and how it is fitted to them."""

    channels: int
    height: int
    width: int
    fit: Fit = "stretch"


@dataclass(frozen=True)
class Making:
    """What the images are made: rows and columns (None: as they are), channels (None: as they are), and how."""

    size: tuple[int, int] | None
    channels: int | None
    fit: Fit


@dataclass(frozen=True)
class Header:
    """What is known of a file: SHA-256 of its bytes, the image's rows and columns, grey or not."""

    digest: str
    height: int
    width: int
    grey: bool


@dataclass(frozen=True, eq=False)
class EncodedImages(ABC):
    """Images that are decoded as they are asked for: the rows of a reader.

    Attributes:
        names: what a message calls each.
        made: the shape that every one is brought to.
    """

    names: tuple[str, ...]
    made: Shape

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, rows, columns of one image."""
        return (self.made.channels, self.made.height, self.made.width)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Bytes, 0 to 255."""
        return np.dtype(np.uint8)

    @property
    @abstractmethod
    def where(self) -> str:
        """Where they lie, for messages."""

    @abstractmethod
    def content(self, row: int) -> bytes:
        """The bytes of an image as they are kept: PNG, JPEG, ..."""

    def read(self, rows: Array) -> Array:
        """The images of `rows` [n] int64: [n, channels, height, width] uint8. Threads may call it side by side.

        Raises:
            DataError: some that are no readable images, the first of them named.
        """
        images = np.empty((len(rows), *self.shape), np.uint8)
        failed = []
        for place, row in enumerate(rows):
            try:
                images[place] = decode(self.content(int(row)), self.made)
            except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
                failed.append((self.names[row], _reason(error)))
        refuse_failed(self.where, failed)
        return images


@dataclass(frozen=True, eq=False)
class ImageFiles(EncodedImages):
    """Images in files of a folder.

    Attributes:
        names: their paths in the folder.
        root: the folder.
    """

    root: Path

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.root)

    def content(self, row: int) -> bytes:
        """The bytes of a file."""
        return (self.root / self.names[row]).read_bytes()

    def some(self, which: slice) -> ImageFiles:
        """Those of a range."""
        return replace(self, names=self.names[which])


def examine_all(content: Callable[[int], bytes], where: str, names: Sequence[str]) -> list[Header]:
    """The headers of images, each of which is decoded once to see that it is whole, by several threads.

    Args:
        content: gives the bytes of the image of this number.
        where: where they lie, for messages.
        names: what a message calls each.

    Raises:
        DataError: some that are no readable images, the first of them named.
    """

    def attempt(row: int) -> Header | str:
        try:
            return examine(content(row))
        except Exception as error:  # as in `EncodedImages.read`
            return _reason(error)

    # Set once for all threads: what Pillow would warn of is either harmless or raises as the image is decoded.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            found = list(pool.map(attempt, range(len(names))))
    refuse_failed(where, [(name, one) for name, one in zip(names, found, strict=True) if isinstance(one, str)])
    return [one for one in found if isinstance(one, Header)]


def refuse_failed(where: str, failed: Sequence[tuple[str, str]]) -> None:
    """Raises the DataError that names files and why each cannot be read; nothing where there are none."""
    if failed:
        what = "1 file is no readable image" if len(failed) == 1 else f"{len(failed)} files are no readable images"
        them = "it" if len(failed) == 1 else "them"
        shown = [f"{name} ({reason})" for name, reason in failed]
        raise DataError(f"{where}: {what}: {listed(shown)}; replace {them} or take {them} out")


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def notes_on_copies(headers: Sequence[Header]) -> tuple[str, ...]:
    """What to know of images that are there more than once, in a sentence."""
    copies = len(headers) - len({header.digest for header in headers})
    if not copies:
        return ()
    are = "image is a copy" if copies == 1 else "images are copies"
    return (f"{copies} {are} of another one, byte for byte: such may lie in the training part and in a part beside it",)


def common_shape(where: str, names: Sequence[str], headers: Sequence[Header], making: Making) -> Shape:
    """The shape of all images: what the spec says, and where it is silent what they all are.

    Raises:
        DataError: they are of several sizes, and the spec is silent.
    """
    channels = making.channels or (1 if all(header.grey for header in headers) else 3)
    if making.size is not None:
        return Shape(channels, *making.size, making.fit)
    first = headers[0]
    for name, header in zip(names, headers, strict=True):
        if (header.height, header.width) != (first.height, first.width):
            raise DataError(
                f"{where}: images of several sizes: {names[0]} is {first.height}x{first.width}, {name} is "
                f"{header.height}x{header.width}; say what they shall be made, as data.size: [32, 32]"
            )
    return Shape(channels, first.height, first.width, making.fit)


def examine(content: bytes) -> Header:
    """The header of an image, which is decoded once to see that it is whole.

    Raises:
        Exception: no image, or a damaged one, of the kind that Pillow chooses.
    """
    if not content:
        raise ValueError("empty")
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) >= 5:
            width, height = height, width
        image.load()  # a file that is cut off or damaged shows here, before any training
        _check_mode(image)
        return Header(hashlib.sha256(content).hexdigest(), height, width, image.mode in _GREY)


def decode(content: bytes, made: Shape) -> Array:
    """An image: [channels, height, width] uint8.

    Raises:
        Exception: a damaged file, of the kind that Pillow chooses.
    """
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        image = _fitted(_in_channels(ImageOps.exif_transpose(opened), made.channels), made)
    values = np.asarray(image)
    return values[None] if made.channels == 1 else values.transpose(2, 0, 1)


def _in_channels(image: Image.Image, channels: int) -> Image.Image:
    """Grey or in colour, 8 bits a value; what is transparent becomes white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    _check_mode(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _check_mode(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise ValueError(f"its values are of mode {image.mode}, not of 8 or 16 bits")


def _fitted(image: Image.Image, made: Shape) -> Image.Image:
    """The image in the rows and columns asked for; the filter is widened where it shrinks, so that nothing aliases."""
    size, bilinear = (made.width, made.height), Image.Resampling.BILINEAR
    if image.size == size:
        return image
    if made.fit == "crop":
        return ImageOps.fit(image, size, bilinear)
    if made.fit == "pad":
        return ImageOps.pad(image, size, bilinear, color=0)
    return image.resize(size, bilinear)


def _reason(error: Exception) -> str:
    """Why, in a few words and without the file's path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than a picture has"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
