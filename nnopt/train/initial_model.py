"""The model of a run with its initial weights, and whether it fits the data."""

from __future__ import annotations

import copy

import psutil
import torch
from torch import nn

from nnopt.data.dataset import Dataset
from nnopt.errors import DataError, NnoptError
from nnopt.randomness import derive
from nnopt.spec.experiment import RunSettings
from nnopt.spec.strategy import GrowingBatch


def build_model(settings: RunSettings, data: Dataset, seed: int) -> nn.Module:
    """The model with its initial weights, drawn on the CPU from the seed (the same for every device and variant).

    Raises:
        DataError: it does not fit the data, in words.
    """
    outputs = settings.loss.model_outputs(data.task, data.outputs)
    _check_memory(settings, data, outputs)
    torch.manual_seed(derive(seed, "weights"))
    try:
        model = settings.model.build(data.input_shape, outputs)
        with torch.no_grad():
            sample = data.train.first(2).cpu()
            found = model.eval()(sample)
    except NnoptError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"model {settings.model.kind} does not fit the data: data gives {data.describe_inputs()}; {reason}"
        ) from error
    # A model of tokens answers at every place.
    places = sample.shape if data.task == "language" else sample.shape[:1]
    if tuple(found.shape) != (*places, outputs):
        raise DataError(
            f"model {settings.model.kind} gives {list(found.shape[1:])} outputs a sample; "
            f"loss {settings.loss.kind} on this data needs {outputs}"
        )
    _check_last_batch(settings, data, model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise DataError(f"model {settings.model.kind} has no parameters to train")
    return model


def _check_memory(settings: RunSettings, data: Dataset, outputs: int) -> None:
    """Raises DataError where weights and gradients alone would not fit, before the system kills a program for it."""
    try:
        with torch.device("meta"):
            model = settings.model.build(data.input_shape, outputs)
        count = sum(parameter.numel() for parameter in model.parameters())
    except Exception:  # what does not fit the data is told by the real build
        return
    needed, free = 8 * count, psutil.virtual_memory().available
    if needed > free:
        raise DataError(
            f"model {settings.model.kind} has {count:,} parameters: weights and gradients take {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB of memory are free"
        )


def _check_last_batch(settings: RunSettings, data: Dataset, model: nn.Module) -> None:
    """Raises DataError where a batch, or a part of one, is one sample and the model (batch norm) cannot train on it."""
    size, samples, parts = settings.strategy.batch_size, len(data.train), settings.strategy.accumulate
    if isinstance(size, GrowingBatch):
        return  # where its epochs end depends on the budget
    size = samples if size == "full" else int(size)
    single = next((rows for rows in (size, samples % size) if rows and rows // min(parts, rows) == 1), None)
    if single is None:
        return
    try:
        copy.deepcopy(model).train()(data.train.first(1).cpu())
    except ValueError as error:
        raise DataError(
            f"strategy.batch_size: {size} of {samples} samples leaves "
            f"{'a batch' if single == 1 else f'parts of a batch of {single}'} with one sample alone, "
            f"which batch norm cannot train on: take another size{'' if parts == 1 else ' or fewer parts'}"
        ) from error
