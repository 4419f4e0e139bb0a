"""Arrays in .npz and .npy files: shapes, targets, the test part, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ended
from hypothesis import given, settings
from hypothesis import strategies as st

from nnopt.data.encoding import restore
from nnopt.data.sources.arrays import arranged, is_turned
from nnopt.errors import DataError
from nnopt.spec.data.arrays import Npy, Npz

pytestmark = pytest.mark.usefixtures("undrawn")

N = 60
CLASSES = np.arange(N) % 3


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=(N, *shape))


def npz(inputs: Any, targets: Any = CLASSES, more: dict[str, Any] | None = None, **keys: Any) -> Npz:
    np.savez("own.npz", inputs=inputs, targets=targets, **(more or {}))
    return Npz.model_validate({"kind": "npz", "path": "own.npz", **keys})


def refused(settings: Npz | Npy) -> str:
    with pytest.raises(DataError) as caught:
        settings.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "keys", "wanted"),
    [
        ((), {}, (1,)),
        ((5,), {}, (5,)),
        ((6, 7), {}, (1, 6, 7)),
        ((3, 6, 7), {}, (3, 6, 7)),
        ((6, 7, 3), {}, (3, 6, 7)),
        ((3, 6, 3), {"channels": "last"}, (3, 3, 6)),
        ((5, 6, 7), {"channels": "first"}, (5, 6, 7)),
    ],
)
def test_every_shape_becomes_features_or_images(here: Path, shape: Any, keys: Any, wanted: Any) -> None:
    assert npz(values(*shape), **keys).load().input_shape == wanted


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=20)
def test_channels_last_are_moved_and_not_mixed(channels: int, height: int, width: int) -> None:
    images = np.arange(2 * height * width * channels).reshape(2, height, width, channels)
    turned = arranged(images, is_turned((height, width, channels), "last", "x"))
    assert turned.flags.c_contiguous
    assert all(np.array_equal(turned[:, one], images[..., one]) for one in range(channels))


def test_targets_are_classes_numbers_or_labels(here: Path) -> None:
    words = np.array(["b", "a", "c"])[CLASSES]
    assert npz(values(2), words).load().classes == ("a", "b", "c")
    assert npz(values(2), CLASSES[:, None] * 10.0).load().classes == ("0", "10", "20")
    numbers = npz(values(2), values(2), task="regression").load()
    assert (numbers.outputs, numbers.classes) == (2, ())
    labels = npz(values(2), (values(4) > 0).astype(int), task="multilabel").load()
    assert (labels.task, labels.outputs) == ("multilabel", 4)


def test_bytes_of_images_are_divided_by_255_and_other_numbers_by_what_they_span(here: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 17, (N, 4, 4), dtype=np.uint8)
    scaled, _ = npz(pixels, normalise="unit").load().train.gather(None)
    assert scaled.max() <= 16 / 255
    spanned, _ = npz(pixels.astype(np.float32), normalise="unit").load().train.gather(None)
    assert spanned.max() == 1


def test_test_arrays_are_the_test_part(here: Path) -> None:
    more = {"test_inputs": np.ones((7, 2)), "test_targets": np.full(7, 2)}
    data = npz(values(2), more=more).load()
    assert (len(data.train) + len(data.validation), len(data.test)) == (N, 7)
    assert data.test.gather(None)[1].tolist() == [2] * 7
    assert "has no array 'test_targets'" in refused(npz(values(2), more={"test_inputs": np.ones((7, 2))}))
    assert "rows of shape 3" in refused(npz(values(2), more={**more, "test_inputs": np.ones((7, 3))}))
    assert "has no row of class 5" in refused(npz(values(2), more={**more, "test_targets": np.full(7, 5)}))


def test_files_are_streamed_or_held_with_equal_numbers(here: Path) -> None:
    np.save("x.npy", values(6, 7, 3).astype(np.float32))
    np.save("y.npy", CLASSES)
    keys = {"kind": "npy", "path": "x.npy", "targets": "y.npy"}
    held, streamed = (Npy.model_validate({**keys, "in_memory": wanted}).load() for wanted in (True, False))
    assert torch.equal(held.train.gather(None)[0], streamed.train.gather(None)[0])
    assert held.content_hash == streamed.content_hash
    assert streamed.encoding is not None
    again = restore(streamed.encoding.record()).read(here / "x.npy").inputs
    assert again.shape == (N, 3, 6, 7)
    np.save("z.npy", values(6, 8, 3))
    with pytest.raises(DataError, match="rows of shape 6x8x3; the model takes 6x7x3"):
        restore(streamed.encoding.record()).read(here / "z.npy")


def test_bad_arrays_are_refused(here: Path) -> None:
    npz(values(2))
    assert "did you mean 'inputs'?" in refused(Npz(kind="npz", path="own.npz", inputs="input"))
    assert "60 rows, targets of" in refused(npz(values(2), CLASSES[:-1]))
    assert "one class alone" in refused(npz(values(2), np.zeros(N)))
    assert "60 different numbers: write task: regression" in refused(npz(values(2), np.arange(N)))
    assert "is no number" in refused(npz(values(2), np.array(["1", "two", "3"])[CLASSES], task="regression"))
    assert "task: multilabel" in refused(npz(values(2), values(2)))
    assert "write data.channels" in refused(npz(values(3, 6, 3)))
    assert "4x2x2x2 is neither" in refused(npz(values(4, 2, 2, 2)))
    holes = values(2)
    holes[4, 1] = np.nan
    assert "row 5 holds a value that is not finite" in refused(npz(holes))
    assert "not numbers" in refused(npz(np.array(["a"] * N)))
    Path("own.npz").write_text("hello")
    assert "no .npz file" in refused(Npz(kind="npz", path="own.npz"))
    np.save("own.npy", values(2))
    assert "write data.kind: npy" in refused(Npz(kind="npz", path="own.npy"))


def test_objects_are_never_unpickled(here: Path, cli: Callable[..., Ended], write_spec: Callable[..., Path]) -> None:
    np.savez("own.npz", inputs=np.array([{"a": 1}] * N, dtype=object), targets=CLASSES)
    ended = cli("train", write_spec({"data": {"kind": "npz", "path": "own.npz"}}), code=2)
    assert ended.errors == [
        f"error: {here / 'own.npz'}: cannot read the array 'inputs': it is not in numpy's format, or holds objects"
    ]
