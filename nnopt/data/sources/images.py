"""Image files in a folder per class, or listed with their labels in a CSV."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from nnopt.data.paths import find
from nnopt.data.raw import Raw, joined_digest
from nnopt.data.sources.image_files import (
    Header,
    ImageFiles,
    Making,
    common_shape,
    examine_all,
    listed,
    notes_on_copies,
)
from nnopt.data.sources.image_layout import ImageLayout
from nnopt.data.sources.targets import OwnTask, read_targets
from nnopt.errors import DataError

_PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Labels:
    """A CSV with a row an image.

    Attributes:
        path: of the file, as `nnopt.data.paths.find` reads it.
        file_column: the column of the images' paths, relative to the folder of the images.
        label_columns: the column of the class or the number; several for several labels or numbers.
    """

    path: str
    file_column: str
    label_columns: tuple[str, ...]


@dataclass(frozen=True)
class _Listing:
    """Files with what is known of each: its part, and its labels as words."""

    names: tuple[str, ...]
    parts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]


def read_images(path: str, root: str | None, labels: Labels | None, task: OwnTask, making: Making) -> Raw:
    """The images in the folder `path`: inputs [n, channels, height, width] uint8.

    Without `labels`, the folders in it are the classes; or it holds a folder `train` and one or both of `validation`
    (or `val`, `valid`) and `test`, whose folders are the classes.

    Raises:
        DataError: an empty folder, files that are no images, two images of one name, labels without an image, ...
    """
    folder = find(path, root)
    if not folder.is_dir():
        raise DataError(f"data.path: {folder} is a file; images lie in a folder")
    columns: tuple[str, ...]
    if labels is None:
        listing, where, columns = _by_folder(folder), str(folder), ("class",)
    else:
        table = find(labels.path, root, "data.labels")
        listing, where, columns = _in_table(table, folder, labels), str(table), labels.label_columns
    names = listing.names
    headers = examine_all(lambda place: (folder / names[place]).read_bytes(), str(folder), names)
    files = ImageFiles(names, common_shape(str(folder), names, headers, making), folder)
    return _raw(files, listing, headers, task, where, columns)


def _raw(
    files: ImageFiles, listing: _Listing, headers: Sequence[Header], task: OwnTask, where: str, names: Sequence[str]
) -> Raw:
    """The content: the images of the test part, which come last, apart from the others."""
    beside = listing.parts.count("test")
    rest = len(listing.names) - beside
    labels = np.array(listing.labels, dtype=object)
    targets, others = read_targets(labels[:rest], labels[rest:] if beside else None, names, task, (where, where))
    held = np.array([place for place, part in enumerate(listing.parts) if part == "validation"], dtype=np.int64)
    each = zip(listing.names, listing.labels, headers, strict=True)
    return Raw(
        inputs=files.some(slice(rest)),
        targets=targets.values,
        classes=targets.classes,
        content_hash=joined_digest(f"{name} {' '.join(label)} {header.digest}" for name, label, header in each),
        largest=255.0,
        test_inputs=files.some(slice(rest, None)) if beside else None,
        test_targets=others,
        stated_task=task,
        layout=ImageLayout(files.made),
        notes=notes_on_copies(headers),
        validation_rows=held if len(held) else None,
    )


def _by_folder(folder: Path) -> _Listing:
    """The images of a folder per class, or of parts that hold one each; those of the test part last."""
    inside = {name: _PARTS[name] for name in _folders(folder) if name in _PARTS}
    if "train" not in inside:
        found = [("train", name, (label,)) for name, label in _of_classes(folder, folder)]
    else:
        if strange := sorted(set(_folders(folder)) - set(inside)):
            raise DataError(f"{folder} holds parts (train, ...) and {listed(strange)}: is that a class, or a part?")
        order = sorted(inside, key=lambda name: (inside[name] == "test", name))
        found = [(inside[part], name, (label,)) for part in order for name, label in _of_classes(folder, folder / part)]
    parts, names, labels = zip(*found, strict=True)
    return _Listing(names, parts, labels)


def _of_classes(root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Each file below the folders in `folder` as a path from `root`, and the name of its folder: its class."""
    classes = _folders(folder)
    if not classes:
        raise DataError(f"{folder} holds no folders: images lie in a folder a class there, or data.labels lists them")
    beside = [entry.name for entry in _visible(folder) if entry.is_file() and _looks_like_image(entry.name)]
    if beside:
        raise DataError(f"{folder}: {listed(beside)} lies beside the folders of the classes; move it into one of them")
    for name in classes:
        found = sorted(_below(root, folder / name))
        if not found:
            raise DataError(f"{folder / name} holds no files: a class needs images; fill the folder or take it out")
        seen: dict[str, str] = {}
        for file in found:
            stem = str(PurePosixPath(file).with_suffix(""))
            if stem in seen:
                raise DataError(f"{root}: two images of one name: {seen[stem]} and {file}; rename or remove one")
            seen[stem] = file
            yield file, name


def _below(root: Path, folder: Path) -> Iterator[str]:
    """The files in `folder` and in its folders, as paths from `root`; hidden ones are passed over."""
    for entry in _visible(folder):
        path = folder / entry.name
        if entry.is_symlink():
            _check_inside(root, path)
        if entry.is_dir(follow_symlinks=False):
            yield from _below(root, path)
        elif entry.is_dir():
            raise DataError(f"{path} is a link to a folder: its images would be counted twice; move them there")
        else:
            yield path.relative_to(root).as_posix()


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from error


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in _visible(folder) if entry.is_dir()]


def _looks_like_image(name: str) -> bool:
    from PIL import Image

    return PurePosixPath(name).suffix.lower() in Image.registered_extensions()


def _check_inside(root: Path, path: Path) -> None:
    """A data set is what lies in its folder: a link may not lead out of it."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{path} leads out of {root}; put a copy there in its place")


def _in_table(table: Path, folder: Path, labels: Labels) -> _Listing:
    """The images that a CSV lists, in its order."""
    names: dict[Path, tuple[int, str]] = {}  # where an image lies -> the line that named it, and how
    found, absent = [], []
    for line, row in _rows(table, (labels.file_column, *labels.label_columns)):
        name = row[labels.file_column].strip()
        path = folder / name
        if not name:
            raise DataError(f"{table}: line {line} names no image in column {labels.file_column}")
        _check_inside(folder, path)
        if not path.is_file():
            absent.append(f"{name} (line {line})")
            continue
        place = path.resolve()
        if place in names:
            before, other = names[place]
            raise DataError(f"{table}: two images of one name: line {before} has {other}, line {line} {name}")
        names[place] = (line, name)
        found.append((name, tuple(row[column].strip() for column in labels.label_columns)))
    if absent:
        are = "image is" if len(absent) == 1 else "images are"
        raise DataError(f"{table}: {len(absent)} {are} not in {folder}: {listed(absent)}")
    if not found:
        raise DataError(f"{table} lists no images: it has a header and no rows")
    return _Listing(tuple(name for name, _ in found), ("train",) * len(found), tuple(label for _, label in found))


def _rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV with the number of the line that each ends on; every one has a text in each of `columns`."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            have = list(reader.fieldnames or [])
            for column in columns:
                if column not in have:
                    near = difflib.get_close_matches(column, have, n=1, cutoff=0.55)
                    meant = f"; did you mean '{near[0]}'?" if near else ""
                    raise DataError(f"{table} has no column '{column}'{meant}; it has {', '.join(have) or 'none'}")
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", error)
        raise DataError(f"cannot read {table}: {reason}") from error
