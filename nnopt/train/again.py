"""A finished or stopped run's weights, evaluated once more."""

from __future__ import annotations

from pathlib import Path

from nnopt.errors import CheckpointError, RunsFolderError
from nnopt.plan import Plan, RunSpec
from nnopt.spec.loading import load
from nnopt.structure.network import reform
from nnopt.train import checkpoint
from nnopt.train.evaluation import Result
from nnopt.train.judging import evaluate_part
from nnopt.train.runner import SPEC
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.state import TrainState


def read_spec(folder: Path) -> RunSpec:
    """The spec of the run in `folder`.

    Raises:
        RunsFolderError: it is not there, or was written by a version that reads specs differently.
    """
    if not (folder / SPEC).is_file():
        raise RunsFolderError(f"{folder} has no {SPEC}: it holds no run")
    return Plan.of(load(folder / SPEC)).runs[0]


def load_weights(folder: Path, weights: str) -> tuple[Setup, TrainState, int]:
    """A run's setup and state with its "best" or "last" weights (averaged ones where it has them), and their step.

    Raises:
        CheckpointError: these weights are missing or damaged, or were not to be kept.
        UsageError: the spec, its data or its device is not to be had here.
    """
    setup, state = build(read_spec(folder), DataCache())
    checkpoints = folder / checkpoint.FOLDER
    if weights == "best":
        if not setup.settings.checkpoint.best:
            raise CheckpointError(f"{folder} kept no best weights (checkpoint.best: false): take --weights last")
        found = checkpoint.load(checkpoints / checkpoint.BEST)
        state.average = None  # the best weights are averaged ones already
        if found.get("network") is not None:
            state.delivered = reform(state.model, found["network"])
        (state.delivered or state.model).load_state_dict(found["model"])
        return setup, state, int(found["step"])
    saved, _ = checkpoint.load_latest(checkpoints)
    if saved is None:
        raise CheckpointError(f"{folder} has no checkpoint yet")
    state.load_state_dict(saved["state"])
    return setup, state, state.progress.step


def evaluate_again(folder: Path, weights: str, part: str) -> tuple[int, Result]:
    """The step of the weights, and their metrics on "validation" or "test" data."""
    setup, state, step = load_weights(folder, weights)
    return step, evaluate_part(setup, state, part)
