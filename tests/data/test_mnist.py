"""MNIST and Fashion-MNIST: the real files where they are at hand, and small or damaged ones made here."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from nnopt.data.download import data_folder
from nnopt.data.sources import fashion_mnist, idx, mnist
from nnopt.errors import DataError
from nnopt.spec.data.downloads import FashionMnist, Mnist

SMALL = {
    "train-images-idx3-ubyte": (40, 28, 28),
    "train-labels-idx1-ubyte": (40,),
    "t10k-images-idx3-ubyte": (20, 28, 28),
    "t10k-labels-idx1-ubyte": (20,),
}
LABELS, TEST_LABELS = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.integers(0, 256, shape).astype(np.uint8) if len(shape) == 3 else np.arange(shape[0]) % 10
        for name, shape in SMALL.items()
    }


def encoded(array: np.ndarray) -> bytes:
    shape = array.shape
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a small Fashion-MNIST, packed; its path is the `root`."""
    monkeypatch.setattr(idx, "SHAPES", SMALL)
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    for name, array in arrays().items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(encoded(array)))
    return tmp_path


def read(root: Path):
    return fashion_mnist.SOURCE.read(str(root))


def test_the_arrays_of_the_files_are_read(small):
    raw, expected = read(small), arrays()
    assert np.array_equal(raw.inputs[:, 0], expected["train-images-idx3-ubyte"])
    assert np.array_equal(raw.targets, expected[LABELS])
    assert np.array_equal(raw.test_inputs[:, 0], expected["t10k-images-idx3-ubyte"])
    assert np.array_equal(raw.test_targets, expected[TEST_LABELS])
    assert (raw.inputs.shape, raw.targets.dtype, raw.largest) == ((40, 1, 28, 28), np.int64, 255.0)
    assert raw.classes[9] == "ankle boot"


def test_packed_and_unpacked_files_are_the_same_content(small):
    packed = read(small)
    for path in (small / "fashion_mnist").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = read(small)
    assert fashion_mnist.SOURCE.missing(str(small)) is None
    assert packed.content_hash == unpacked.content_hash
    assert np.array_equal(packed.inputs, unpacked.inputs)


def test_another_content_has_another_hash(small):
    before = read(small).content_hash
    changed = arrays()["t10k-images-idx3-ubyte"]
    changed[3, 4, 5] ^= 1
    (small / "fashion_mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(encoded(changed)))
    assert read(small).content_hash != before


def damages() -> dict[str, tuple[str, bytes, str]]:
    good = encoded(arrays()[LABELS])
    packed = gzip.compress(good)
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # within the checksum of the content
    wrong_label = arrays()[LABELS].copy()
    wrong_label[7] = 10
    return {
        "empty": (f"{LABELS}.gz", b"", "it ends too early"),
        "cut short": (f"{LABELS}.gz", packed[:-9], "it ends too early"),
        "without its last byte": (f"{LABELS}.gz", packed[:-1], "it ends too early"),
        "a flipped bit": (f"{LABELS}.gz", bytes(flipped), "it cannot be unpacked"),
        "a web page": (f"{LABELS}.gz", b"<html>moved</html>", "it cannot be unpacked"),
        "too short inside": (f"{LABELS}.gz", gzip.compress(good[:-1]), "should hold 48 bytes and has 47"),
        "too long inside": (
            f"{LABELS}.gz",
            gzip.compress(good + bytes(10**6)),
            "should hold 48 bytes and has more",
        ),
        "other dimensions": (
            f"{LABELS}.gz",
            gzip.compress(good[:7] + b"\x29" + good[8:]),
            "no 40 bytes in the IDX",
        ),
        "a wrong label": (
            f"{LABELS}.gz",
            gzip.compress(encoded(wrong_label)),
            "the label 10, but there are 10",
        ),
        "unpacked and short": (LABELS, good[:-1], "should hold 48 bytes and has 47"),
        "unpacked and long": (LABELS, good + b"x", "should hold 48 bytes and has more"),
        "unpacked, no IDX": (LABELS, bytes(48), "no 40 bytes in the IDX format"),
    }


@pytest.mark.parametrize("damage", list(damages()))
def test_a_damaged_file_is_named(small, damage):
    name, content, why = damages()[damage]
    path = small / "fashion_mnist" / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(small)
    message = str(caught.value)
    assert message.startswith(f"{path} is damaged: ")
    assert why in message
    assert message.endswith("Delete it to have it downloaded again, or put the right file there")


def test_content_that_is_not_the_publishers_is_refused(small):
    (small / "fashion_mnist").rename(small / "mnist")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged: its content is not that of MNIST"):
        mnist.SOURCE.read(str(small))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_file_that_may_not_be_read_is_named(small):
    (small / "fashion_mnist" / f"{LABELS}.gz").chmod(0)
    with pytest.raises(DataError, match=f"cannot read .*{LABELS}.gz: Permission denied"):
        read(small)


def test_only_missing_files_are_downloaded(small, mirror):
    folder = small / "fashion_mnist"
    hashes = []
    for name in SMALL:
        content = (folder / f"{name}.gz").read_bytes()
        (mirror.folder / f"{name}.gz").write_bytes(content)
        hashes.append(f"md5:{hashlib.md5(content).hexdigest()}")
    before = read(small).content_hash
    for name in (LABELS, TEST_LABELS):
        (folder / f"{name}.gz").unlink()
    source = idx.IdxSource("Small", "fashion_mnist", (mirror.address,), tuple(hashes), tuple("0123456789"))
    assert source.missing(str(small)) == f"Small is not at hand: {folder} lacks {LABELS}.gz, {TEST_LABELS}.gz"
    assert source.read(str(small)).content_hash == before
    assert mirror.asked == [f"/{LABELS}.gz", f"/{TEST_LABELS}.gz"]
    source.read(str(small))
    assert len(mirror.asked) == 2


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_message_says_which_file_goes_where(tmp_path):
    with pytest.raises(DataError) as caught:
        Mnist(kind="mnist", root=str(tmp_path)).load()
    assert str(caught.value) == (
        "cannot download train-images-idx3-ubyte.gz "
        "(https://ossci-datasets.s3.amazonaws.com/mnist/: no connection; "
        "https://storage.googleapis.com/cvdf-datasets/mnist/: no connection). "
        "Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
        f"t10k-labels-idx1-ubyte.gz into {tmp_path / 'mnist'}, or set data.root or NNOPT_DATA_DIR "
        "to the folder that holds them in mnist/"
    )


@pytest.fixture(scope="module")
def real_mnist():
    spec = Mnist(kind="mnist")
    if (reason := spec.available()) is not None:
        pytest.skip(reason)
    return spec.load()


def test_the_real_mnist_is_the_published_one(real_mnist):
    parts = [real_mnist.train, real_mnist.validation]
    assert [len(part) for part in [*parts, real_mnist.test]] == [55_000, 5_000, 10_000]
    counts = sum(torch.bincount(part.targets) for part in parts)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(real_mnist.test.targets).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    everything = torch.cat([part.inputs for part in parts])
    # 0.1307 and 0.3081 are the constants that MNIST examples everywhere normalise by.
    assert round(everything.mean(dtype=torch.float64).item(), 4) == 0.1307
    assert round(everything.double().std().item(), 4) == 0.3081
    assert (everything.min().item(), everything.max().item()) == (0.0, 1.0)
    assert real_mnist.describe_inputs() == "1x28x28 images"


def test_the_real_mnist_validation_part_has_all_classes_in_their_shares(real_mnist):
    counts = torch.bincount(real_mnist.validation.targets)
    ideal = torch.tensor([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 12
    assert ((counts - ideal).abs() < 1).all()


def test_the_real_fashion_mnist_is_balanced():
    spec = FashionMnist(kind="fashion_mnist")
    if (reason := spec.available()) is not None:
        pytest.skip(reason)
    data = spec.load()
    assert torch.bincount(data.test.targets).tolist() == [1000] * 10
    assert torch.bincount(data.validation.targets).tolist() == [500] * 10


def test_the_real_mnist_under_fashion_mnists_name_is_refused(tmp_path, real_mnist):
    (tmp_path / "fashion_mnist").symlink_to(data_folder(None) / "mnist", target_is_directory=True)
    with pytest.raises(DataError, match="its content is that of MNIST"):
        fashion_mnist.SOURCE.read(str(tmp_path))
