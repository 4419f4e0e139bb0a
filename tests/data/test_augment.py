"""Random changes of images against scipy, Pillow and slow twins; what each may draw, and what it leaves alone."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from nnopt.data.augment import colour, geometry, randaugment
from nnopt.data.augment.crop import Crop
from nnopt.data.augment.noise import blurred
from nnopt.data.augment.pixels import Pixels
from nnopt.data.augment.transform import Chain, Transform
from nnopt.data.dataset import Dataset, Part
from nnopt.errors import DataError
from nnopt.spec.data.augment import AUGMENTS

SCIPY_MODES = {"black": "grid-constant", "edge": "nearest", "mirror": "reflect"}
NUMPY_MODES = {"black": "constant", "edge": "edge", "mirror": "reflect"}


def data_of(shape: tuple[int, ...], samples: int = 40, task: str = "classification", **keys: Any) -> Dataset:
    """A data set of noise; images have black at -1 and white at 3."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(samples, *shape, generator=generator) * 4 - 1
    part = Part(inputs, torch.arange(samples) % 5)
    channels = torch.ones(shape[0])
    known: dict[str, Any] = {"pixel_range": (-channels, 3 * channels)} if len(shape) == 3 else {}
    return Dataset("noise", part, part, part, task, tuple("abcde"), torch.zeros(1), torch.ones(1), "", **known | keys)  # type: ignore[arg-type]


GREY, COLOURED, TABLE = data_of((1, 9, 12)), data_of((3, 9, 12)), data_of((6,))
TOKENS = replace(TABLE, task="language", train=Part(torch.arange(60).view(10, 6) % 5, torch.arange(60).view(10, 6) % 5))
PIXELS = Pixels.of(COLOURED)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(data: Dataset, *changes: dict[str, Any]) -> Transform:
    """The changes in their order, as training has them."""
    steps = [AUGMENTS.find(keys["kind"]).model_validate(keys).build(data) for keys in changes]  # type: ignore[attr-defined]
    return Chain(geometry.combine(steps))


# ------------------------------------------------------------------------------------------------ geometry


@pytest.mark.parametrize("fill", list(SCIPY_MODES))
def test_moved_images_are_those_of_scipy(fill: str) -> None:
    inputs = COLOURED.train.first(6)
    draws = torch.rand(6, 2, 3, generator=generator(3))
    motions = draws - 0.5 + torch.eye(2, 3) + torch.tensor([0.0, 0.0, 6.0]) * (draws - 0.5)
    found = geometry.moved(inputs, motions, fill, PIXELS)
    middle = (np.array(inputs.shape[2:]) - 1) / 2
    for image, motion, changed in zip(inputs.numpy(), motions.double().numpy(), found, strict=True):
        matrix = motion[::-1, [1, 0]]  # rows, then columns
        offset = middle + motion[::-1, 2] - matrix @ middle
        for channel, other in zip(image, changed, strict=True):
            wanted = scipy.ndimage.affine_transform(
                channel.astype(np.float64), matrix, offset, order=1, mode=SCIPY_MODES[fill], cval=-1.0
            )
            np.testing.assert_allclose(other.numpy(), wanted, atol=2e-5)


def centre(images: Tensor) -> Tensor:
    """[n, 2], x and y of the mean brightness above black, from the middle."""
    weights = (images + 1)[:, 0]
    weights = weights / weights.sum((1, 2), keepdim=True)
    y, x = (torch.arange(size) - (size - 1) / 2 for size in weights.shape[1:])
    return torch.stack(((weights.sum(1) * x).sum(1), (weights.sum(2) * y).sum(1)), dim=1)


def test_a_change_after_another_gives_what_both_give_in_turn() -> None:
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(50) - 24.5, indexing="ij")
    blob = torch.exp(-((x - 6) ** 2 + (y + 3) ** 2) / 18).expand(20, 1, 40, 50) - 1
    pixels = Pixels(torch.full((1, 1, 1, 1), -1.0), torch.ones(1, 1, 1, 1), is_zero=False, is_unit=False)
    steps = [
        geometry.Rotation(50, 1, "black", pixels),
        geometry.Translation(0.1, 1, "black", pixels),
        geometry.Flip(-1, 0.5, pixels),
        geometry.Zoom(0.8, 1.3, 1, "black", pixels),
        geometry.Shear(15, 0.7, "black", pixels),
    ]
    drawn = [step.drawn(blob, generator(number)) for number, step in enumerate(steps)]
    in_turn = blob
    for motions in drawn:
        in_turn = geometry.moved(in_turn, motions, "black", pixels)
    at_once = drawn[0]
    for motions in drawn[1:]:
        at_once = geometry.after(at_once, motions)
    together = geometry.moved(blob, at_once, "black", pixels)
    assert (centre(together) - centre(blob)).abs().amax() > 3
    assert (centre(together) - centre(in_turn)).abs().amax() < 0.05


def test_changes_of_places_are_combined_where_they_share_what_lies_beyond_the_edge() -> None:
    flip, rotation = {"kind": "horizontal_flip"}, {"kind": "rotation"}
    edge = {"kind": "scaling", "fill": "edge"}

    def lengths(*changes: dict[str, Any]) -> list[int]:
        chain = build(GREY, *changes)
        assert isinstance(chain, Chain)
        return [len(step.steps) if isinstance(step, geometry.Motions) else 1 for step in chain.steps]

    assert lengths(flip, rotation, flip) == [3]
    assert lengths(flip, {"kind": "vertical_flip"}) == [1, 1]
    assert lengths(rotation, edge) == [1, 1]
    assert lengths(flip, edge, flip, rotation) == [3, 1]
    assert lengths(rotation, {"kind": "noise"}, rotation) == [1, 1, 1]


def test_flips_are_exact_and_take_their_share() -> None:
    data = data_of((1, 3, 4), samples=2000)
    inputs, targets = data.train.gather(None)
    for kind, axis in (("horizontal_flip", 3), ("vertical_flip", 2)):
        found, _ = build(data, {"kind": kind, "share": 0.3})(inputs, targets, generator())
        stays, turned = (found == inputs).all((1, 2, 3)), (found == inputs.flip(axis)).all((1, 2, 3))
        assert (stays ^ turned).all()
        assert 0.25 < float(turned.float().mean()) < 0.35
    together = build(data, {"kind": "horizontal_flip", "share": 1}, {"kind": "rotation", "degrees": 1e-6})
    torch.testing.assert_close(together(inputs, targets, generator())[0], inputs.flip(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("step", "angle"),
    [
        (geometry.Rotation(20, 1, "black", PIXELS), lambda motions: torch.rad2deg(motions[:, 0, 1].asin()) / 20),
        (geometry.Shear(10, 1, "black", PIXELS), lambda motions: torch.rad2deg(motions[:, 1, 0].atan()) / 10),
        (geometry.Shear(10, 1, "black", PIXELS), lambda motions: torch.rad2deg(motions[:, 0, 1].atan()) / 10),
        (geometry.Translation(0.2, 1, "black", PIXELS), lambda motions: motions[:, 0, 2] / (0.2 * 12)),
        (geometry.Translation(0.2, 1, "black", PIXELS), lambda motions: motions[:, 1, 2] / (0.2 * 9)),
        (geometry.Zoom(0.5, 2.5, 1, "black", PIXELS), lambda motions: 1 / motions[:, 0, 0] - 1.5),
    ],
)
def test_each_sample_has_a_uniform_draw_of_its_own(step: geometry.Motion, angle: Callable[[Tensor], Tensor]) -> None:
    drawn = angle(step.draw(4000, 9, 12, generator()))
    assert drawn.unique().numel() > 3900
    assert scipy.stats.kstest(drawn.numpy(), scipy.stats.uniform(-1, 2).cdf).pvalue > 0.001


@pytest.mark.parametrize("fill", list(NUMPY_MODES))
def test_a_crop_is_a_window_of_the_padded_image(fill: str) -> None:
    inputs, targets = COLOURED.train.gather(None)
    found, _ = Crop(2, fill, PIXELS)(inputs, targets, generator())
    values: dict[str, Any] = {"constant_values": -1} if fill == "black" else {}
    padded = np.pad(inputs.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), NUMPY_MODES[fill], **values)
    seen = set()
    for image, window in zip(padded, found.numpy(), strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(image[:, top : top + 9, left : left + 12], window)
        ]
        assert len(places) == 1
        seen.update(places)
    assert {top for top, _ in seen} == {left for _, left in seen} == set(range(5))


# ------------------------------------------------------------------------------------------------- colours


def images_of_bytes(channels: int = 3, count: int = 6) -> Tensor:
    levels = torch.randint(20, 220, (count, channels, 9, 12), generator=generator(5))
    levels[0] //= 3  # a dark one
    levels[1] = 77  # a flat one
    return levels / 255


def by_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Each image [3, h, w] changed by Pillow, from 0 to 1."""
    levels = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    changed = [np.asarray(change(Image.fromarray(one))) for one in levels]
    return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.brighter, ImageEnhance.Brightness),
        (colour.contrasted, ImageEnhance.Contrast),
        (colour.saturated, ImageEnhance.Color),
        (randaugment.sharpened, ImageEnhance.Sharpness),
    ],
)
def test_colours_change_as_in_pillow(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: type[Any], factor: float
) -> None:
    images = images_of_bytes()
    wanted = by_pillow(images, lambda image: theirs(image).enhance(factor))
    torch.testing.assert_close(ours(images, torch.full((6,), factor)), wanted, atol=2.5 / 255, rtol=0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (randaugment.autocontrasted, ImageOps.autocontrast),
        (randaugment.equalised, ImageOps.equalize),
        (
            lambda images: randaugment.posterised(images, torch.full((6,), 3.0)),
            lambda image: ImageOps.posterize(image, 3),
        ),
        (
            lambda images: randaugment.solarised(images, torch.full((6,), 99.5 / 255)),
            lambda image: ImageOps.solarize(image, 100),
        ),
    ],
    ids=["autocontrast", "equalise", "posterise", "solarise"],
)
def test_levels_change_as_in_pillow(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Image.Image], Image.Image]
) -> None:
    images = images_of_bytes()
    torch.testing.assert_close(ours(images), by_pillow(images, theirs), atol=1.01 / 255, rtol=0)


def test_hues_turn_as_in_colorsys() -> None:
    images, turns = images_of_bytes(), torch.tensor([-0.5, -0.2, 0.0, 0.1, 0.37, 0.5])
    found = colour.hues_turned(images, turns).permute(0, 2, 3, 1).reshape(6, -1, 3)
    for pixels, turn, others in zip(images.permute(0, 2, 3, 1).reshape(6, -1, 3), turns, found, strict=True):
        for pixel, other in zip(pixels.tolist(), others.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            assert other == pytest.approx(colorsys.hsv_to_rgb((hue + float(turn)) % 1, saturation, value), abs=2e-5)


def test_a_blur_is_that_of_scipy() -> None:
    inputs, sigma = COLOURED.train.first(4), torch.tensor([0.3, 0.8, 1.1, 2.0])
    found = blurred(inputs, sigma, 6).numpy()
    for image, one, other in zip(inputs.double().numpy(), sigma.tolist(), found, strict=True):
        wanted = scipy.ndimage.gaussian_filter(image, one, mode="nearest", radius=6, axes=(1, 2))
        np.testing.assert_allclose(other, wanted, atol=2e-5)


def test_a_cutout_blackens_a_square_and_nothing_else() -> None:
    inputs, targets = COLOURED.train.gather(None)
    found, _ = build(COLOURED, {"kind": "cutout", "size": 4, "share": 0.8})(inputs, targets, generator())
    sizes = set()
    for image, other in zip(inputs, found, strict=True):
        hidden = (other == -1).all(0)
        assert torch.equal(other[:, ~hidden], image[:, ~hidden])
        rows, columns = hidden.any(1).sum().item(), hidden.any(0).sum().item()
        assert hidden.sum() == rows * columns
        sizes.add((rows, columns))
    assert (4, 4) in sizes
    assert (0, 0) in sizes
    assert max(max(size) for size in sizes) == 4
    assert len(sizes) > 3  # those at the edge are smaller


# --------------------------------------------------------------------------------------------- randaugment


def test_randaugment_draws_from_all_its_changes_at_the_strength_asked_for() -> None:
    data = data_of((3, 16, 16), samples=300)
    inputs, targets = data.train.gather(None)
    transform = build(data, {"kind": "randaugment", "operations": 1, "strength": 15})
    assert isinstance(transform, Chain)
    (step,) = transform.steps
    assert isinstance(step, randaugment.RandAugment)
    pixels = Pixels.of(data)
    found, _ = step(inputs, targets, generator())
    one = torch.ones(len(inputs))
    candidates = torch.stack(
        [
            pixels.inputs(change(pixels.brightness(inputs), sign * 0.5 * one))
            for change in step.changes
            for sign in (-1, 1)
        ]
    )
    fits = (candidates - found).abs().flatten(2).amax(2) < 1e-5  # [28, n]
    assert fits.any(0).all()
    assert fits.view(14, 2, -1).any(1).any(1).all()
    assert fits.view(14, 2, -1).any(1).float().mean(1).amax() < 0.25


def test_strengths_are_those_of_the_table() -> None:
    step = randaugment.RandAugment(2, 30, Pixels.of(GREY), (1, 9, 12))
    images, one = images_of_bytes(1), torch.ones(6)
    moved = geometry.moved(
        images, torch.tensor([[[1.0, 0, 150 / 331 * 12], [0, 1, 0]]]).expand(6, 2, 3), "black", BLACK
    )
    torch.testing.assert_close(step.changes[12](images, one), moved)
    torch.testing.assert_close(step.changes[3](images, one), 1 - images)  # from black on
    torch.testing.assert_close(step.changes[4](images, one), randaugment.posterised(images, 4 * one))
    torch.testing.assert_close(step.changes[5](images, -one), images * 0.1)
    torch.testing.assert_close(step.changes[8](images, one), images)  # grey has no colours


BLACK = Pixels(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), is_zero=True, is_unit=True)


def test_pixels_beyond_the_edge_are_black_in_images_of_any_scale() -> None:
    inputs, targets = torch.full((50, 3, 9, 12), 2.0), torch.zeros(50, dtype=torch.int64)
    for change in ({"kind": "translation", "amount": 0.5}, {"kind": "crop"}, {"kind": "cutout", "size": 5}):
        found, _ = build(COLOURED, change)(inputs, targets, generator())
        assert found.amin() == -1
        assert float(found.amax()) == pytest.approx(2)


def test_the_range_of_pixels_is_looked_up_where_the_source_does_not_say_it() -> None:
    data = replace(COLOURED, pixel_range=None)
    pixels, inputs = Pixels.of(data), data.train.first(1000)
    assert torch.equal(pixels.black.flatten(), inputs.amin((0, 2, 3)))
    assert torch.equal((pixels.black + pixels.span).flatten(), inputs.amax((0, 2, 3)))


# ------------------------------------------------------------------------------------------------ any change

EXAMPLES: dict[str, tuple[Dataset, dict[str, Any]]] = {
    **{kind: (COLOURED, {}) for kind in AUGMENTS.named()},
    "cutout": (GREY, {"size": 3}),
    "colour_jitter": (COLOURED, {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.2}),
    "noise": (TABLE, {"std": 0.5}),
    "mixup": (TABLE, {}),
    "token_masking": (TOKENS, {"share": 0.5}),
}


@pytest.mark.parametrize("kind", list(EXAMPLES))
@settings(max_examples=8)
@given(seed=st.integers(0, 2**40))
def test_a_change_is_a_function_of_its_generator_and_leaves_what_it_is_given(kind: str, seed: int) -> None:
    data, keys = EXAMPLES[kind]
    change = build(data, {"kind": kind, **keys})
    inputs, targets = data.train.gather(None)
    before, default = inputs.clone(), torch.get_rng_state()
    first = change(inputs, targets, generator(seed))
    again = change(inputs, targets, generator(seed))
    other = change(inputs, targets, generator(seed + 1))
    assert torch.equal(inputs, before)
    assert torch.equal(torch.get_rng_state(), default)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == inputs.shape
    assert first[0].dtype == inputs.dtype
    assert bool(torch.isfinite(first[0]).all())
    if kind != "noise" and kind != "token_masking":
        assert first[0].amin() > -1.001
        assert first[0].amax() < 3.001


def test_masked_tokens_are_of_the_vocabulary_and_their_share() -> None:
    tokens = torch.full((100, 200), 3)
    found, answers = build(TOKENS, {"kind": "token_masking", "share": 0.2})(tokens, tokens, generator())
    assert answers is tokens
    counts = torch.bincount(found.flatten(), minlength=5) / tokens.numel()
    assert counts.tolist() == pytest.approx([0.04, 0.04, 0.04, 0.84, 0.04], abs=0.01)


def test_noise_has_its_standard_deviation() -> None:
    inputs, targets = torch.full((1000, 20), 2.0), torch.zeros(1000, dtype=torch.int64)
    found, _ = build(TABLE, {"kind": "noise", "std": 0.3})(inputs, targets, generator())
    assert float((found - 2).std()) == pytest.approx(0.3, rel=0.03)
    assert float(found.mean()) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("data", "keys", "words"),
    [
        (TABLE, {"kind": "rotation"}, "rotation changes images; this data gives 6 features"),
        (TABLE, {"kind": "randaugment"}, "randaugment changes images"),
        (GREY, {"kind": "colour_jitter", "hue": 0.1}, "3 channels; this data gives 1x9x12 images"),
        (GREY, {"kind": "crop", "padding": 9, "fill": "mirror"}, "margin of 9 pixels from images of 9"),
        (GREY, {"kind": "token_masking"}, "token_masking changes texts; this data gives 1x9x12 images"),
        (TOKENS, {"kind": "noise"}, "noise changes values; this data gives 6 tokens"),
        (TOKENS, {"kind": "mixup"}, "mixup changes values; this data gives 6 tokens"),
        (replace(TABLE, task="multitask"), {"kind": "mixup"}, "several questions"),
        (data_of((1, 2, 9)), {"kind": "randaugment"}, "needs 3x3 pixels"),
    ],
)
def test_a_change_that_is_not_for_the_data_is_refused(data: Dataset, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        build(data, keys)
    assert "\n" not in str(caught.value)
