"""CIFAR-10: the real files where they are at hand, and small or damaged ones made here."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nnopt.data.sources import cifar10
from nnopt.errors import DataError
from nnopt.spec.data.downloads import Cifar10

RECORDS = 20
BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
FOLDER = "cifar-10-batches-bin"


def contents() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    found = {}
    for name in BATCHES:
        records = random.integers(0, 256, (RECORDS, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(RECORDS) % 10
        found[name] = records.tobytes()
    return found


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    (tmp_path / "cifar10").mkdir()
    return tmp_path


def write_batches(root: Path) -> Path:
    folder = root / "cifar10" / FOLDER
    folder.mkdir()
    for name, content in contents().items():
        (folder / name).write_bytes(content)
    return folder


def archive_of(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def official_members() -> dict[str, bytes | tarfile.TarInfo]:
    return {f"{FOLDER}/{name}": content for name, content in contents().items()}


def put_archive(root: Path, content: bytes) -> Path:
    path = root / "cifar10" / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    return path


def test_records_are_a_label_and_three_planes(root):
    write_batches(root)
    raw = cifar10.SOURCE.read(str(root))
    assert (raw.inputs.shape, raw.test_inputs.shape) == ((5 * RECORDS, 3, 32, 32), (RECORDS, 3, 32, 32))
    assert (raw.targets.dtype, raw.largest, raw.classes[0]) == (np.int64, 255.0, "airplane")
    record = contents()["data_batch_3.bin"][4 * 3073 : 5 * 3073]
    row = 2 * RECORDS + 4
    assert raw.targets[row] == record[0]
    for channel, y, x in [(0, 0, 0), (1, 2, 3), (2, 31, 31)]:
        assert raw.inputs[row, channel, y, x] == record[1 + channel * 1024 + y * 32 + x]


def test_the_archive_gives_the_same_content_as_its_files(root):
    folder = write_batches(root)
    expected = cifar10.SOURCE.read(str(root))
    for path in folder.iterdir():
        path.unlink()
    archive = put_archive(root, archive_of({f"{FOLDER}/readme.html": b"hello", **official_members()}))
    assert cifar10.SOURCE.missing(str(root)) is None
    raw = cifar10.SOURCE.read(str(root))
    assert raw.content_hash == expected.content_hash
    assert np.array_equal(raw.inputs, expected.inputs)
    assert sorted(path.name for path in folder.iterdir()) == sorted(BATCHES)
    assert archive.exists()  # the user put it there


def test_members_that_are_not_asked_for_are_never_written(root):
    link = tarfile.TarInfo(f"{FOLDER}/link")
    link.type, link.linkname = tarfile.SYMTYPE, "../../../outside"
    evil = {"../outside": b"x", "/outside": b"x", f"{FOLDER}/../../outside": b"x", "link": link}
    put_archive(root, archive_of({**evil, **official_members()}))
    cifar10.SOURCE.read(str(root))
    found = {path.name for path in root.rglob("*") if path.is_file() and path.name != ".lock"}
    assert found == {"cifar-10-binary.tar.gz", *BATCHES}
    assert not (root.parent / "outside").exists()


def test_a_link_in_place_of_a_file_is_refused(root):
    members = official_members()
    link = tarfile.TarInfo(f"{FOLDER}/test_batch.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "data_batch_1.bin"
    members[f"{FOLDER}/test_batch.bin"] = link
    put_archive(root, archive_of(members))
    with pytest.raises(DataError, match=r"tar\.gz is damaged: it holds no test_batch\.bin of 61460 bytes"):
        cifar10.SOURCE.read(str(root))


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:30],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: flipped(whole, len(whole) // 2),
        lambda whole: flipped(whole, -6),
    ],
    ids=["empty", "header only", "half", "without its last byte", "a flipped bit", "a flipped checksum"],
)
def test_a_damaged_archive_is_named_and_leaves_nothing(root, damage):
    path = put_archive(root, damage(archive_of(official_members())))
    with pytest.raises(DataError) as caught:
        cifar10.SOURCE.read(str(root))
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert not (root / "cifar10" / FOLDER).exists()


def test_an_archive_that_is_none_is_named(root):
    for content in (b"<html>moved</html>", gzip.compress(b"no tar" * 300)):
        path = put_archive(root, content)
        with pytest.raises(DataError) as caught:
            cifar10.SOURCE.read(str(root))
        assert str(caught.value).startswith(f"{path} is damaged: ")


def test_a_damaged_file_is_named(root):
    folder = write_batches(root)
    good = contents()["data_batch_2.bin"]
    path = folder / "data_batch_2.bin"
    for content, why in [
        (good[:-1], "it should hold 61460 bytes and has 61459"),
        (b"", "it should hold 61460 bytes and has 0"),
        (good + b"x", "it should hold 61460 bytes and has 61461"),
        (b"\x0a" + good[1:], "it has the label 10, but there are 10 classes"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            cifar10.SOURCE.read(str(root))
        assert str(caught.value) == (
            f"{path} is damaged: {why}. Delete it to have it downloaded again, or put the right file there"
        )


def test_a_download_is_unpacked_and_its_archive_removed(root, mirror):
    content = archive_of(official_members())
    (mirror.folder / "cifar-10-binary.tar.gz").write_bytes(content)
    source = cifar10.CifarSource((mirror.address,), f"sha256:{hashlib.sha256(content).hexdigest()}")
    first = source.read(str(root))
    assert source.read(str(root)).content_hash == first.content_hash
    assert mirror.asked == ["/cifar-10-binary.tar.gz"]
    assert not (root / "cifar10" / "cifar-10-binary.tar.gz").exists()
    assert source.missing(str(root)) is None


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_message_says_which_file_goes_where(tmp_path):
    spec = Cifar10(kind="cifar10", root=str(tmp_path))
    folder = tmp_path / "cifar10"
    assert spec.available() == f"CIFAR-10 is not at hand: {folder / FOLDER} lacks {', '.join(BATCHES)}"
    with pytest.raises(DataError) as caught:
        spec.load()
    assert str(caught.value) == (
        "cannot download cifar-10-binary.tar.gz (https://www.cs.toronto.edu/~kriz/: no connection). "
        f"Put cifar-10-binary.tar.gz into {folder}, or {', '.join(BATCHES)} into {folder / FOLDER}, "
        "or set data.root or NNOPT_DATA_DIR to the folder that holds them in cifar10/"
    )


def test_the_real_cifar10_is_balanced():
    spec = Cifar10(kind="cifar10")
    if (reason := spec.available()) is not None:
        pytest.skip(reason)
    data = spec.load()
    assert torch.bincount(data.train.targets).tolist() == [4500] * 10
    assert torch.bincount(data.validation.targets).tolist() == [500] * 10
    assert torch.bincount(data.test.targets).tolist() == [1000] * 10
    assert data.describe_inputs() == "3x32x32 images"
    # The channel means that CIFAR-10 examples normalise by; rows held out and JPEG move them by less.
    means = data.train.inputs.mean((0, 2, 3))
    assert torch.allclose(means, torch.tensor([0.4914, 0.4822, 0.4465]), atol=2e-3)
