"""Trained weights read back: a run's into what it was trained with, a file's into a model."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnopt.errors import CheckpointError, RunsFolderError
from nnopt.plan import Plan, RunSpec
from nnopt.spec.loading import load
from nnopt.store.record import SPEC
from nnopt.structure.network import load_weights, reform
from nnopt.train import checkpoint
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.state import TrainState

WEIGHTS_KEYS = ("model", "state_dict", "model_state_dict")  # where files of other programs keep weights among others


def read_spec(folder: Path) -> RunSpec:
    """The spec of the run in `folder`.

    Raises:
        RunsFolderError: it is not there, or was written by a version that reads specs differently.
    """
    if not (folder / SPEC).is_file():
        raise RunsFolderError(f"{folder} has no {SPEC}: it holds no run")
    return Plan.of(load(folder / SPEC)).runs[0]


def restore(setup: Setup, state: TrainState, folder: Path, weights: str) -> int:
    """Gives a freshly built run its "best" or "last" weights (averaged ones where it has them); their step.

    Raises:
        CheckpointError: these weights are missing or damaged, or were not to be kept.
    """
    checkpoints = folder / checkpoint.FOLDER
    if weights == "best":
        if not setup.settings.checkpoint.best:
            raise CheckpointError(f"{folder} kept no best weights (checkpoint.best: false): take --weights last")
        found = checkpoint.load(checkpoints / checkpoint.BEST)
        state.average = None  # the best weights are averaged ones already
        if found.get("network") is not None:
            state.delivered = reform(state.model, found["network"])
        load_weights(state.delivered or state.model, found["model"])
        return int(found["step"])
    saved, _ = checkpoint.load_latest(checkpoints)
    if saved is None:
        raise CheckpointError(f"{folder} has no checkpoint yet")
    state.load_state_dict(saved["state"])
    return state.progress.step


def load_network(run: RunSpec, folder: Path, weights: str, beside: Setup, cache: DataCache) -> tuple[nn.Module, int]:
    """The network that a run on the same data left in `folder`, in fp32 on the device of `beside`, and its step.

    It is in evaluation mode, and takes no gradient. Default generators and the thread count are others afterwards.

    Raises:
        CheckpointError: as `restore`.
    """
    strategy = run.settings.strategy.model_copy(update={"precision": "fp32", "compile": False})
    here = {"strategy": strategy, "device": str(beside.device), "data": beside.settings.data, "parallel": None}
    setup, state = build(replace(run, settings=run.settings.model_copy(update=here)), cache)
    step = restore(setup, state, folder, weights)
    return delivered_network(state), step


def delivered_network(state: TrainState) -> nn.Module:
    """The network that comes out of a run: in evaluation mode, with averaged weights where it has them, no gradient."""
    if state.average is None or state.delivered is not None:
        network = state.delivered or state.model
    else:
        with state.average.in_place():
            network = copy.deepcopy(state.model)
    for parameter in network.parameters():
        parameter.grad = None
    return network.eval().requires_grad_(False)


def read_file(path: Path, model: nn.Module) -> nn.Module:
    """`model` with the weights in a file, in evaluation mode; it takes no gradient.

    Raises:
        CheckpointError: as `read_weights`, or the weights are those of another model.
    """
    weights, network = read_weights(path)
    if network is not None:
        model = reform(model, network)
    _check_names(model, weights)
    try:
        load_weights(model, weights)
    except RuntimeError as error:
        raise CheckpointError(f"its weights are of another model: {' '.join(str(error).split())}") from error
    return model.eval().requires_grad_(False)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The weights in a file by name, and the network's shape where a checkpoint of nnopt records one.

    The file is a checkpoint of nnopt, or holds what torch.save writes of a state_dict, alone or under a usual name.

    Raises:
        CheckpointError: it is missing or damaged, or holds no weights.
    """
    if not path.is_file():
        raise CheckpointError("there is no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        raise CheckpointError(f"it cannot be read as weights ({type(error).__name__})") from error
    return _weights_in(path, content)


def _weights_in(path: Path, content: Any) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The weights by name, and the network's shape where a checkpoint of nnopt records one."""
    network = None
    if isinstance(content, dict) and {"format", "checksum"} <= content.keys():
        content = checkpoint.load(path)
        content = content.get("state", content)
        network = content.get("network") or (content.get("shaping") or {}).get("network")
    for key in WEIGHTS_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not (isinstance(content, dict) and content and all(isinstance(one, Tensor) for one in content.values())):
        raise CheckpointError("it holds no state_dict: write one with torch.save(model.state_dict(), FILE)")
    return content, network


def _check_names(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Raises CheckpointError where names or shapes are not the model's."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in [*own, *given]:
        if own.get(name) != given.get(name):
            has, wants = (("nothing" if one is None else list(one)) for one in (given.get(name), own.get(name)))
            raise CheckpointError(f"its weights are of another model: {name} is {has} there, and {wants} in the model")
