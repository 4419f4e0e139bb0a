"""What is exported: the network of a run that is done, and the test data that it is judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nnopt.data.dataset import Dataset
from nnopt.errors import UsageError
from nnopt.spec.experiment import RunSettings
from nnopt.store.find import read_run
from nnopt.store.record import RunRecord
from nnopt.train.restoring import delivered_network, read_spec, restore
from nnopt.train.setup import DataCache, Setup, build

WHY_NOT = {
    "running": "it is still training: wait for its end",
    "interrupted": "it was interrupted: train the same file again, which goes on from its checkpoint",
    "diverged": "it diverged, so that its weights answer nothing",
    "failed": "it failed: its run.log says why",
    "pruned": "its search ended it early: export the run that `nnopt sweep` confirmed",
}


class Scaled(nn.Module):
    """A network behind the normalisation of its data: network((x - shift) / scale)."""

    shift: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs [n, *input_shape] -> what the network answers."""
        found: Tensor = self.network((inputs - self.shift) / self.scale)
        return found


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network in fp32 on the CPU, in evaluation mode, that takes no gradient.

    Attributes:
        record: the run.
        setup: what it was trained with; the data are read.
        network: what is exported: the run's own, or that one behind the normalisation.
        weights: "best" or "last".
        step: of the weights.
        raw: whether the network takes inputs as they are before the normalisation.
    """

    record: RunRecord
    setup: Setup
    network: nn.Module
    weights: str
    step: int
    raw: bool

    @property
    def data(self) -> Dataset:
        """The data set of the run."""
        return self.setup.data

    @property
    def reads_tokens(self) -> bool:
        """Whether an input is a row of token numbers."""
        return not self.example(1).is_floating_point()

    def example(self, count: int) -> Tensor:
        """Inputs such as the network takes, as many as `count`: the first of the training data."""
        return self._as_taken(self.data.train.first(count))

    def tests(self, count: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """The first `count` test samples (None for all) in chunks: inputs that the network takes, and targets."""
        left = len(self.data.test) if count is None else count
        for inputs, targets in self.data.test.chunks(self.setup.settings.evaluation.batch_size):
            if left <= 0:
                return
            yield self._as_taken(inputs[:left]), targets[:left]
            left -= len(inputs)

    def answer(self, inputs: Tensor) -> Tensor:
        """What torch says."""
        with torch.no_grad():
            found: Tensor = self.network(inputs)
        return found

    def _as_taken(self, inputs: Tensor) -> Tensor:
        if not isinstance(self.network, Scaled):
            return inputs.contiguous()
        return (inputs * self.network.scale + self.network.shift).contiguous()


def load_subject(folder: Path, weights: str, raw: bool) -> Subject:
    """The run in `folder` with its "best" or "last" weights; `raw`: behind the normalisation of its data.

    Raises:
        UsageError: the run is not done, or there is nothing that could be exported so.
        CheckpointError: these weights are missing or damaged, or were not to be kept.
        RunsFolderError: the folder holds no run.
        DataError: its data are not there.
    """
    record = read_run(folder)
    if record.status != "done":
        raise UsageError(f"{folder} cannot be exported: {WHY_NOT.get(record.status, f'it is {record.status}')}")
    run = read_spec(folder)
    if run.settings.model.kind == "point":
        raise UsageError(f"{folder} looked for the lowest point of a function: there is no network to export")
    setup, state = build(replace(run, settings=_of_use(run.settings)), DataCache())
    step = restore(setup, state, folder, weights)
    network = delivered_network(state)
    if raw:
        network = _behind_scaling(network, setup.data)
    return Subject(record, setup, network, weights, step, raw)


def _of_use(settings: RunSettings) -> RunSettings:
    """Those of a network that answers alone: on the CPU in fp32, one pass a sample, in one process."""
    strategy = settings.strategy.model_copy(update={"precision": "fp32", "compile": False})
    evaluation = settings.evaluation.model_copy(update={"test_time": 0})
    keys = {"device": "cpu", "strategy": strategy, "evaluation": evaluation, "parallel": None}
    return settings.model_copy(update=keys)


def _behind_scaling(network: nn.Module, data: Dataset) -> nn.Module:
    scaling = None if data.encoding is None else data.encoding.scaling
    if scaling is None:
        raise UsageError(f"--raw-inputs: the inputs of {data.name} are not scaled, or nnopt keeps no record of it")
    shape = (1, -1, *(1 for _ in data.input_shape[1:]))
    shift, scale = (torch.from_numpy(values).float().reshape(shape) for values in (scaling.shift, scaling.scale))
    return Scaled(network, shift, scale).eval().requires_grad_(False)
