"""Image files: a folder a class, a CSV of labels, sizes and channels, and what is refused."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ended
from own_files import images_and_labels, write_folders, write_table
from PIL import Image

from nnopt.data.encoding import restore
from nnopt.data.sources.image_files import Shape, decode
from nnopt.errors import DataError
from nnopt.spec.data.images import Images

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which holds a folder `images` of 100 digits."""
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path / "images", 100)
    return tmp_path / "images"


def spec(**keys: Any) -> Images:
    return Images.model_validate({"kind": "images", "path": "images", **keys})


def refused(**keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        spec(**keys).load()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_pixels_and_classes_are_those_of_the_files(folder: Path) -> None:
    raw = spec().read()
    assert raw.classes == tuple("0123456789")
    images, labels = images_and_labels(100)
    found = sorted(range(100), key=lambda place: raw.inputs.names[place])  # type: ignore[union-attr]
    assert raw.inputs.shape == (1, 8, 8)
    assert np.array_equal(raw.inputs.read(np.array(found))[:, 0], images[by_name(images, labels)])  # type: ignore[union-attr]
    assert np.array_equal(raw.targets[found], labels[by_name(images, labels)])


def by_name(images: Any, labels: Any) -> list[int]:
    """The rows in the order of their files' paths."""
    return sorted(range(len(images)), key=lambda row: f"{labels[row]}/{'more/' if row % 2 else ''}{row:04}.png")


def test_held_and_streamed_images_are_equal_and_so_are_their_statistics(folder: Path) -> None:
    held, streamed = (spec(in_memory=wanted, normalise="standard").load() for wanted in (True, False))
    for part in ("train", "validation", "test"):
        for one, other in zip(getattr(held, part).gather(None), getattr(streamed, part).gather(None), strict=True):
            assert torch.equal(one, other)
    assert held.content_hash == streamed.content_hash


def test_a_csv_gives_classes_numbers_or_labels(folder: Path) -> None:
    write_table(folder.parent / "flat", 60)
    images, labels = images_and_labels(60)
    keys = {"path": "flat", "labels": "flat/labels.csv"}
    raw = spec(**keys).read()
    assert np.array_equal(raw.targets, labels)
    raw = spec(**keys, task="regression", label_column="ink").read()
    assert np.allclose(raw.targets[:, 0], images.mean((1, 2)))
    raw = spec(**keys, task="multilabel", label_column=["even", "dark"]).read()
    assert raw.classes == ("even", "dark")
    assert np.array_equal(raw.targets[:, 0], labels % 2 == 0)


def test_folders_of_parts_are_the_parts(folder: Path) -> None:
    whole = folder.parent / "whole"
    for part, count in (("train", 60), ("val", 30), ("test", 40)):
        write_folders(whole / part, count)
    data = spec(path="whole").load()
    assert (len(data.train), len(data.validation), len(data.test)) == (60, 30, 40)
    assert any("copies" in note for note in data.notes)
    shutil.rmtree(whole / "test")
    data = spec(path="whole", test=20).load()
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 30, 20)
    only = spec(path="whole", classes=[3, 5], test=4).load()
    _, labels = images_and_labels(30)
    assert len(only.validation) == np.isin(labels, (3, 5)).sum()


# A colour image of 2 rows and 4 columns: left half red, right half blue.
WIDE = np.zeros((2, 4, 3), np.uint8)
WIDE[:, :2, 0] = 200
WIDE[:, 2:, 2] = 100


def encoded(image: Image.Image, tmp_path: Path, **keys: Any) -> bytes:
    image.save(tmp_path / "one.png", **keys)
    return (tmp_path / "one.png").read_bytes()


def test_an_image_is_stretched_cropped_or_padded(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(WIDE), tmp_path)
    assert np.array_equal(decode(content, Shape(3, 2, 4)), WIDE.transpose(2, 0, 1))
    cropped = decode(content, Shape(3, 2, 2, "crop"))
    assert np.array_equal(cropped, WIDE[:, 1:3].transpose(2, 0, 1))
    padded = decode(content, Shape(3, 4, 4, "pad"))
    assert np.array_equal(padded[:, 1:3], WIDE.transpose(2, 0, 1))
    assert not padded[:, [0, 3]].any()
    stretched = decode(content, Shape(3, 2, 2))
    left, right = stretched[0, 0].tolist()  # the filter reaches over the middle, and keeps the sum
    assert left + right == 200
    assert left > 150
    grey = decode(content, Shape(1, 2, 4))
    assert grey[0, 0].tolist() == [60, 60, 11, 11]  # ITU-R 601: 0.299 red, 0.114 blue


def test_shrinking_takes_the_mean_of_what_it_leaves_out(tmp_path: Path) -> None:
    """A chequered image becomes grey, where a filter as small as a pixel would give black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = decode(encoded(Image.fromarray(board), tmp_path), Shape(1, 8, 8))
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_unusual_files_are_read_as_a_viewer_shows_them(tmp_path: Path) -> None:
    upright = np.arange(8, dtype=np.uint8).reshape(2, 4) * 30
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows and columns change places
    turned = decode(encoded(Image.fromarray(upright), tmp_path, exif=exif), Shape(1, 4, 2))
    assert np.array_equal(turned[0], np.rot90(upright, -1))
    deep = Image.fromarray((upright.astype(np.uint16) << 8) + 17)
    assert np.array_equal(decode(encoded(deep, tmp_path), Shape(1, 2, 4))[0], upright)
    clear = Image.fromarray(np.dstack([WIDE, np.full((2, 4), 0, np.uint8)]))
    assert (decode(encoded(clear, tmp_path), Shape(3, 2, 4)) == 255).all()


def test_what_is_no_image_is_named_before_training(
    folder: Path, cli: Callable[..., Ended], write_spec: Callable[..., Path]
) -> None:
    whole = sorted((folder / "5").glob("*.png"))[0].read_bytes()
    (folder / "3" / "empty.png").touch()
    (folder / "4" / "words.jpg").write_text("hello")
    (folder / "5" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "5" / ".hidden").write_text("passed over")
    ended = cli("train", write_spec({"data": {"kind": "images", "path": "images", "in_memory": False}}), code=2)
    (line,) = ended.errors
    assert "3 files are no readable images: 3/empty.png (empty), 4/words.jpg (not an image), 5/cut.png (" in line
    assert not (folder.parent / "runs").exists() or not list((folder.parent / "runs").rglob("metrics.csv"))
    for number in range(9):
        (folder / "3" / f"{number}-empty.png").touch()
    assert refused().count("(empty)") == 5
    assert "and 7 more" in refused()


def test_bad_folders_are_refused(folder: Path) -> None:
    assert "data.path: there is no file or folder nowhere" in refused(path="nowhere")
    (folder.parent / "bare").mkdir()
    assert "bare holds no folders" in refused(path="bare")
    (folder.parent / "bare" / "cat").mkdir()
    assert "cat holds no files" in refused(path="bare")
    Image.new("L", (8, 8)).save(folder / "lost.png")
    assert "lost.png lies beside the folders" in refused()
    (folder / "lost.png").rename(folder / "7" / "large.png")
    Image.new("L", (9, 8)).save(folder / "7" / "large.png")
    assert "images of several sizes" in refused()
    assert spec(size=4).load().input_shape == (1, 4, 4)
    twin = sorted((folder / "7").glob("*.png"))[0]
    Image.open(twin).save(twin.with_suffix(".jpg"))
    assert f"two images of one name: 7/{twin.stem}.jpg and 7/{twin.name}" in refused(size=8)
    twin.with_suffix(".jpg").unlink()
    (folder.parent / "secret.png").write_bytes(twin.read_bytes())
    (folder / "7" / "link.png").symlink_to(folder.parent / "secret.png")
    assert "leads out of" in refused(size=8)
    shutil.rmtree(folder / "7")
    for name in "01234569":
        shutil.rmtree(folder / name, ignore_errors=True)
    assert "one class alone" in refused()


def test_bad_tables_are_refused(folder: Path) -> None:
    flat = folder.parent / "flat"
    table = write_table(flat, 30)
    keys = {"path": "flat", "labels": "flat/labels.csv"}
    assert "no column 'lable'; did you mean 'label'?" in refused(**keys, label_column="lable")
    whole = table.read_text()
    table.write_text(whole + "3.png,1,0,0,0\n")
    assert "two images of one name: line 5 has 3.png, line 32 3.png" in refused(**keys)
    table.write_text(whole + "nowhere.png,1,0,0,0\n")
    assert "nowhere.png (line 32)" in refused(**keys)
    table.write_text(whole + "../images/x.png,1,0,0,0\n")
    assert "leads out of" in refused(**keys)
    table.write_text(whole.replace("0.png,0,1", "0.png,,1", 1))
    assert "row 1 of" in refused(**keys)
    assert "is no number" in refused(**keys, task="regression", label_column="path")
    table.write_text("path,label\n")
    assert "lists no images" in refused(**keys)
    table.write_bytes(b"path,label\n\xff\xfe,1\n")
    assert "no UTF-8 text" in refused(**keys)


def test_new_files_are_read_as_the_recorded_layout_says(folder: Path) -> None:
    data = spec(size=[6, 5], channels=3, fit="pad").load()
    assert data.encoding is not None
    again = restore(data.encoding.record())
    new = again.read(folder)
    assert new.inputs.shape == (100, 3, 6, 5)
    assert new.label_name == "file"
    assert torch.equal(again.read(folder / new.labels[7]).inputs[0], new.inputs[7])  # type: ignore[operator]
    (folder / "odd.txt").write_text("words")
    with pytest.raises(DataError, match=r"odd\.txt \(not an image\)"):
        again.read(folder)


def test_the_table_of_labels_is_read_as_csv(folder: Path) -> None:
    """Names with commas and quotes, and columns of other names."""
    flat = folder.parent / "flat"
    flat.mkdir()
    with (flat / "list.csv").open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "kind of thing"])
        for number in range(12):
            Image.new("L", (4, 4), number).save(flat / f'a "{number}", b.png')
            rows.writerow([f'a "{number}", b.png', ["a, b", "c"][number % 2]])
    raw = spec(path="flat", labels="flat/list.csv", file_column="file", label_column="kind of thing").read()
    assert raw.classes == ("a, b", "c")
    assert raw.inputs.read(np.arange(12))[:, 0, 0, 0].tolist() == list(range(12))  # type: ignore[union-attr]
