"""What a trained network answers to new samples; the run's folder is all that it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnopt.data.dataset import Dataset
from nnopt.data.encoding import NewSamples
from nnopt.data.recorded import dataset_of
from nnopt.data.sources.text import TextLayout
from nnopt.errors import DataError, UsageError
from nnopt.spec.experiment import RunSettings
from nnopt.store.data_file import read_data_record
from nnopt.train.answers import Column, answer_columns
from nnopt.train.foretelling import columns_of_text
from nnopt.train.restoring import read_spec, restore
from nnopt.train.setup import DRAWN, DataCache, Setup, build
from nnopt.train.state import TrainState


class Recorded(DataCache):
    """Gives a run the data set that its folder remembers, its rows blank."""

    def __init__(self, data: Dataset) -> None:
        super().__init__()
        self._data = data

    def get(self, settings: RunSettings, device: torch.device, seed: int) -> Dataset:
        """As `DataCache.get`, but nothing is read."""
        return self._data.to(device)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers to the samples of a file.

    Attributes:
        step: of the weights.
        columns: by name, as many entries in each: what names the sample, then the answers to it.
    """

    step: int
    columns: dict[str, Column]


def load_trained(folder: Path, weights: str) -> tuple[Setup, TrainState, int]:
    """The run in `folder` with its "best" or "last" weights, and their step; its data are blank rows.

    Raises:
        CheckpointError: these weights are missing or damaged, or were not to be kept.
        RunsFolderError: the folder holds no run, or one that keeps no record of its data.
        UsageError: its data has no files, so that nothing new can be read.
    """
    run = read_spec(folder)
    data = dataset_of(read_data_record(folder))
    if data.encoding is None:
        raise UsageError(f"{folder}: data {data.name} has no files of new samples, so there is nothing to predict")
    setup, state = build(replace(run, settings=_of_use(run.settings)), Recorded(data))
    return setup, state, restore(setup, state, folder, weights)


def _of_use(settings: RunSettings) -> RunSettings:
    """Those of a network that answers: nothing is drawn, and nothing counted in rows that are blank."""
    keys: dict[str, Any] = {
        "device": "auto",
        "parallel": None,
        "data": settings.data.model_copy(update=dict.fromkeys(DRAWN)),
        "evaluation": settings.evaluation.model_copy(update={"test_time": 0}),
    }
    if getattr(settings.loss, "class_weights", None) is not None:
        keys["loss"] = settings.loss.model_copy(update={"class_weights": None})
    return settings.model_copy(update=keys)


@contextlib.contextmanager
def answering(setup: Setup, state: TrainState) -> Iterator[torch.nn.Module]:
    """The network that comes out of a run, in evaluation mode, with averaged weights where it has them."""
    network = state.delivered or state.model
    in_place = contextlib.nullcontext() if state.average is None or state.delivered else state.average.in_place()
    with in_place, torch.no_grad(), setup.autocast():
        yield network.eval()


def predict(folder: Path, file: Path, weights: str) -> Predictions:
    """What the "best" or "last" weights of the run in `folder` answer to the samples in `file`.

    Raises:
        CheckpointError, RunsFolderError: as `load_trained`.
        UsageError: as `load_trained`.
        DataError: the file is missing, or holds something else than the run was trained on.
    """
    setup, state, step = load_trained(folder, weights)
    data = setup.data
    assert data.encoding is not None
    batch, layout = setup.settings.evaluation.batch_size, data.encoding.layout
    if isinstance(layout, TextLayout):
        with answering(setup, state) as network:
            return Predictions(step, columns_of_text(network, layout, file, batch, setup.device))
    samples = data.encoding.read(file)
    _check_shape(samples, data, file)
    chunks: list[Tensor] = []
    with answering(setup, state) as network:
        for inputs in torch.split(samples.inputs, batch):
            chunks.append(network(inputs.to(setup.device)).float().cpu())
    answers = answer_columns(torch.cat(chunks), setup.loss, setup.settings.loss.answers, data)
    return Predictions(step, {samples.label_name: samples.labels, **answers})


def _check_shape(samples: NewSamples, data: Dataset, file: Path) -> None:
    """Raises DataError where there is no sample, or samples are of another shape than those of the training."""
    if not len(samples.inputs):
        raise DataError(f"{file} holds no sample")
    found = list(samples.inputs.shape[1:])
    if found != list(data.input_shape):
        raise DataError(f"{file}: a sample is of shape {found}, and the run was trained on {list(data.input_shape)}")
