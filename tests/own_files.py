"""Digits as files of a user's own: image files, arrays, a data set of Hugging Face."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nnopt.data.sources import digits

Array = NDArray[np.uint8]


def images_and_labels(count: int) -> tuple[Array, NDArray[np.int64]]:
    """The first digits: [count, 8, 8] with values from 0 to 255, and their classes."""
    raw = digits.read()
    assert isinstance(raw.inputs, np.ndarray)
    return (raw.inputs[:count, 0].astype(np.float64) * 255 / 16).round().astype(np.uint8), raw.targets[:count]


def write_folders(folder: Path, count: int = 300) -> None:
    """A folder a class, PNG files; every other one hidden among further folders of its class."""
    for place, (image, label) in enumerate(zip(*images_and_labels(count), strict=True)):
        inside = folder / str(label) / ("more" if place % 2 else "")
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(inside / f"{place:04}.png")


def write_table(folder: Path, count: int = 100) -> Path:
    """Files beside each other, and a CSV with their classes, whether they are even, and their ink."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "labels.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "even", "dark", "ink"])
        for place, (image, label) in enumerate(zip(*images_and_labels(count), strict=True)):
            Image.fromarray(image).save(folder / f"{place}.png")
            ink = float(image.mean())
            rows.writerow([f"{place}.png", label, int(label % 2 == 0), int(ink > 80), ink])
    return table


def write_npz(path: Path, count: int = 400) -> None:
    """Images and classes in one file."""
    images, labels = images_and_labels(count)
    np.savez_compressed(path, inputs=images, targets=labels)


def write_npy(folder: Path, count: int = 400) -> None:
    """Images with a channel of their own, and classes, in two files."""
    images, labels = images_and_labels(count)
    np.save(folder / "images.npy", images[..., None])
    np.save(folder / "labels.npy", labels)


def write_hugging_face(folder: Path, count: int = 400) -> None:
    """A data set with a column of lists and one of classes."""
    import datasets

    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    images, labels = images_and_labels(count)
    rows = datasets.Dataset.from_dict({"pixels": images.reshape(count, -1).tolist(), "label": labels.tolist()})
    rows.cast_column("label", datasets.ClassLabel(names=[f"digit {number}" for number in range(10)])).save_to_disk(
        str(folder)
    )
    if not shown:
        datasets.enable_progress_bars()
