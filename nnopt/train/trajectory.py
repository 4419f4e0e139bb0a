"""trajectory.csv: the way of a run over the function that it makes small."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nnopt.store.files import Table
from nnopt.store.record import TRAJECTORY
from nnopt.train.setup import Setup
from nnopt.train.state import TrainState

# A place of more numbers is no way that one looks at.
MOST_DIMENSIONS = 10


class Trajectory:
    """Notes where a run is; places stay on the device until someone waits for it anyway."""

    def __init__(self, folder: Path, setup: Setup, last_step: int | None) -> None:
        landscape = setup.data.landscape
        assert landscape is not None
        self._value = landscape.value
        self._input = setup.data.train.first(1)
        coordinates = (f"x{index + 1}" for index in range(landscape.dimensions))
        self._table = Table(folder / TRAJECTORY, ("step", "value", *coordinates))
        self._table.begin(last_step)
        self._steps: list[int] = []
        self._places: list[Tensor] = []  # [1, d] each

    def note(self, state: TrainState) -> None:
        """The model's answer after the present step, in evaluation mode: nothing random is drawn."""
        with torch.no_grad():
            self._places.append(state.model.eval()(self._input).clone())
        state.model.train()
        self._steps.append(state.progress.step)

    def flush(self) -> None:
        """Writes what was noted."""
        if not self._steps:
            return
        places = torch.cat(self._places).float()
        values = self._value(places).tolist()
        self._table.append(
            [(step, value, *place) for step, value, place in zip(self._steps, values, places.tolist(), strict=True)]
        )
        self._steps, self._places = [], []


def open_trajectory(folder: Path, setup: Setup, state: TrainState, last_step: int | None) -> Trajectory | None:
    """That of a run on a function of few numbers, its beginning noted; None for any other."""
    landscape = setup.data.landscape
    if landscape is None or landscape.dimensions > MOST_DIMENSIONS:
        return None
    found = Trajectory(folder, setup, last_step)
    if last_step is None:
        found.note(state)
    return found
