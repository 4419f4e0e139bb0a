"""The averages that batch norm keeps, taken anew for weights that no training step has seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nnopt.data.dataset import Samples

SAMPLES = 2_000  # of the training data that are looked at, at most: every evaluation pays for them


def recalibrate(
    model: nn.Module, part: Samples, chunk: int, context: Callable[[], AbstractContextManager[object]]
) -> None:
    """Replaces running means and variances by those of the first samples of `part`, `chunk` at a time.

    Weights that are an average of others answer with other statistics than those had (Izmailov et al. 2018,
    arXiv:1803.05407, section 3.2; Defazio et al. 2024, arXiv:2405.15682). Plain means over the chunks; no random
    number is drawn, and the model trains afterwards if it did.
    """
    layers = [one for one in model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]
    if not layers:
        return
    training = model.training
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean
        layer.train()
    with torch.no_grad(), context():
        for inputs, _ in itertools.islice(part.chunks(chunk), max(1, SAMPLES // chunk)):
            model(inputs)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(training)
