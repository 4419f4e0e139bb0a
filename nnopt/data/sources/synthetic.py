"""Data sets that are made up, so that the right answer is known."""

from __future__ import annotations

import math

import numpy as np
import torch

from nnopt.data.dataset import Dataset, Part
from nnopt.data.landscapes import Landscape
from nnopt.data.raw import Array, Raw, digest, joined_digest
from nnopt.data.sources.embedded import plain_layout
from nnopt.data.table_layout import TableLayout


def linear(rows: int, features: int, condition: float, noise: float, seed: int) -> Raw:
    """y = Xw + b + noise: inputs [rows, features], targets [rows, 1], both float64.

    The features are normal and independent, their standard deviations in equal ratios from 1 to √condition: so
    XᵀX, the curvature of the mean squared error, has that condition number, up to the draw.
    """
    generator = np.random.RandomState(seed)
    inputs, weights, bias = _features(generator, rows, features, condition)
    targets = inputs @ weights + bias + noise * generator.normal(size=rows)
    found = f"the true answer is {_in_words(weights, bias)}; no model has a mean squared error below {noise**2:.4g}"
    return Raw(inputs, targets[:, None], (), _hash(inputs, targets), layout=_layout(inputs), notes=(found,))


def logistic(rows: int, features: int, condition: float, scale: float, seed: int) -> Raw:
    """Class 1 with probability σ(scale · (Xw + b)), else class 0; X as in `linear`, ‖w‖ = 1.

    The larger `scale`, the fewer samples lie on the wrong side.
    """
    generator = np.random.RandomState(seed)
    inputs, weights, bias = _features(generator, rows, features, condition)
    chances = 1 / (1 + np.exp(-scale * (inputs @ weights + bias)))
    targets = (generator.uniform(size=rows) < chances).astype(np.int64)
    best = np.maximum(chances, 1 - chances).mean()
    found = (
        f"the true logit is {_in_words(scale * weights, scale * bias)}; who knows it is right in {best:.1%} of all rows"
    )
    return Raw(inputs, targets, ("0", "1"), _hash(inputs, targets), layout=_layout(inputs), notes=(found,))


def spirals(rows: int, arms: int, turns: float, noise: float, seed: int) -> Raw:
    """Points on `arms` spirals that wind `turns` times around the origin, with normal noise: inputs [rows, 2]."""
    generator = np.random.RandomState(seed)
    targets = np.arange(rows) % arms
    along = np.sqrt(generator.uniform(size=rows))  # as many points on every stretch of an arm, nearly
    angles = 2 * math.pi * (turns * along + targets / arms)
    inputs = along[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1) + noise * generator.normal(size=(rows, 2))
    classes = tuple(f"arm {arm}" for arm in range(arms))
    return Raw(inputs, targets.astype(np.int64), classes, _hash(inputs, targets), layout=_layout(inputs))


def descent(name: str, landscape: Landscape, rows: int, noise: float, seed: int) -> Dataset:
    """A function to be made small, as a data set: the objective is f(z) + mean over the batch of εᵢ·z.

    The targets [rows, d] are the slopes εᵢ, normal with standard deviation `noise`, in pairs of opposite sign: so
    the gradient of a batch is that of f with noise, and that of all rows is exactly that of f.
    """
    generator = np.random.RandomState(seed)
    half = noise * generator.normal(size=(-(-rows // 2), landscape.dimensions))
    slopes = np.concatenate([half, -half]) if noise else np.zeros((rows, landscape.dimensions))
    still = Part(torch.ones(1, 1), torch.zeros(1, landscape.dimensions))
    return Dataset(
        name=name,
        train=Part(torch.ones(len(slopes), 1), torch.from_numpy(slopes.astype(np.float32))),
        validation=still,
        test=still,
        task="function",
        classes=(),
        target_mean=torch.zeros(landscape.dimensions),
        target_scale=torch.ones(landscape.dimensions),
        content_hash=_hash(slopes),
        landscape=landscape,
    )


def _features(
    generator: np.random.RandomState, rows: int, features: int, condition: float
) -> tuple[Array, Array, float]:
    """Inputs [rows, features], weights [features] of length 1 in units of the features' spread, and a bias."""
    spreads = condition ** (0.5 * np.arange(features) / max(features - 1, 1))
    inputs = generator.normal(size=(rows, features)) * spreads
    weights = generator.normal(size=features)
    return inputs, weights / np.linalg.norm(weights) / spreads, float(generator.normal())


def _layout(inputs: Array) -> TableLayout:
    """Tables with columns x1, x2, ..."""
    return plain_layout([f"x{index + 1}" for index in range(inputs.shape[1])])


def _in_words(weights: Array, bias: float) -> str:
    shown = [f"{weight:+.4g}·x{index}" for index, weight in enumerate(weights[:6], start=1)]
    return f"{bias:.4g} {' '.join(shown)}{' + ...' if len(weights) > 6 else ''}"


def _hash(*arrays: Array) -> str:
    return joined_digest(map(digest, arrays))
