"""Shapes of inputs in words, and the check that a model for images gets images."""

from __future__ import annotations

import math

from nnopt.errors import DataError


def describe(input_shape: tuple[int, ...]) -> str:
    """One sample's shape as a message says it: "64 features", "1x8x8 images"."""
    if len(input_shape) == 1:
        return f"{input_shape[0]} features"
    return f"{'x'.join(map(str, input_shape))} {'images' if len(input_shape) == 3 else 'arrays'}"


def features(input_shape: tuple[int, ...]) -> int:
    """How many numbers one sample has."""
    return math.prod(input_shape)


def image_shape(model: str, input_shape: tuple[int, ...], smallest: int = 1) -> tuple[int, int, int]:
    """Channels, height and width of the images that `model` gets.

    Raises:
        DataError: no images, or images with less than `smallest` rows or columns.
    """
    if len(input_shape) != 3:
        raise DataError(f"model {model} needs images (channels x height x width); data gives {describe(input_shape)}")
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise DataError(
            f"model {model} needs images of at least {smallest}x{smallest} pixels; data gives {describe(input_shape)}"
        )
    return channels, height, width
