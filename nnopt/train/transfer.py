"""A network that begins with trained weights: taken by name and shape, and told tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnopt.errors import CheckpointError, NnoptError, UsageError
from nnopt.plan import RunSpec
from nnopt.spec.transfer import InitFromSpec
from nnopt.store.place import place
from nnopt.structure.names import check_patterns, is_named, names_above
from nnopt.train import checkpoint
from nnopt.train.initial_model import build_model
from nnopt.train.restoring import read_spec, read_weights
from nnopt.train.setup import DataCache, Setup
from nnopt.train.sources import Role, check_is_there, find_source, is_planned
from nnopt.train.state import TrainState
from nnopt.train.teacher_checks import check_same_fold, same_rows

KEY = "model.init_from"
ROLE = Role(KEY, "a network begins with one whose training is done")
SHOWN = 6  # names in a line of the log

Record = dict[str, Any]


@dataclass(frozen=True)
class Match:
    """Which tensors of a model have a counterpart among trained weights.

    Attributes:
        taken: names of those that become the source's.
        left: of those that stay as they were drawn.
        unused: of those of the source that have no place in the model.
        new_head: the last layer, where the source's is of another shape or absent; else empty.
    """

    taken: tuple[str, ...]
    left: tuple[str, ...]
    unused: tuple[str, ...]
    new_head: str = ""


def match_weights(source: InitFromSpec, name: str, weights: Mapping[str, Tensor], model: nn.Module) -> Match:
    """Finds a tensor of the same name and shape for each one of the model that `source` asks for.

    Args:
        source: what is asked for.
        name: what messages call it.
        weights: the source's tensors by name.
        model: the network that is to have them.

    Raises:
        UsageError: one is not there or of another shape (and not of the last layer), a pattern matches nothing, or
            nothing at all would be taken.
    """
    own = dict(model.state_dict())
    known = {above for tensor in own for above in names_above(tensor)}
    check_patterns(source.only, known, list(own), f"{KEY}.only")
    check_patterns(source.leave_out, known, list(own), f"{KEY}.leave_out")
    asked = [one for one in own if is_named(one, source.only) and not is_named(one, source.leave_out)]
    head = _last_layer(model)
    of_head = [one for one in asked if one.rpartition(".")[0] == head]
    new_head = any(not _is_alike(weights.get(one), own[one]) for one in of_head)
    taken = [one for one in asked if not (new_head and one in of_head)]
    for one in taken:
        if not _is_alike(weights.get(one), own[one]):
            has = f"{list(weights[one].shape)} there" if one in weights else "not there"
            raise UsageError(
                f"{KEY}: {name} is of another model: {one} is {has}, and {list(own[one].shape)} in this one; what is "
                "to be drawn anew belongs in leave_out"
            )
    if not taken:
        raise UsageError(f"{KEY}: nothing would be taken of {name}: name more in only, or less in leave_out")
    chosen = set(taken)
    return Match(
        taken=tuple(taken),
        left=tuple(one for one in own if one not in chosen),
        unused=tuple(one for one in weights if one not in own),
        new_head=head if new_head else "",
    )


def begin_from_source(run: RunSpec, setup: Setup, state: TrainState, runs_dir: Path, cache: DataCache) -> None:
    """Gives a freshly built run the weights that its spec names, and keeps in `state.origin` what was taken.

    A run lies below `cache.teachers_in`, else `runs_dir`.

    Raises:
        UsageError: the source is missing, not trained to its end, or of another model.
    """
    source = run.settings.model.init_from
    if source is None:
        return
    weights, record = _read(source, run.seed, cache.teachers_in or runs_dir)
    match = match_weights(source, _name(record), weights, state.model)
    own = state.model.state_dict()
    with torch.no_grad():
        for one in match.taken:
            own[one].copy_(weights[one])
    # Some optimizers remember where they began.
    parameters = setup.parameters
    state.optimizer = setup.together.optimizer(run.settings.optimizer.build(parameters), parameters)
    if state.average is not None:
        state.average.begin_anew()
    state.origin = {
        **record,
        "taken": list(match.taken),
        "left": list(match.left),
        **({"unused": list(match.unused)} if match.unused else {}),
        **({"new_head": match.new_head} if match.new_head else {}),
    }


def in_words(origin: Record) -> str:
    """What a network began with, for run.log."""
    from_where = ", ".join(f"{key} {origin[key]}" for key in ("run", "checkpoint", "weights", "step") if key in origin)
    parts = [f"begins with {from_where}, sha256 {origin['sha256']}: {len(origin['taken'])} tensors taken"]
    parts += [f"{len(origin[key])} {key} ({_some(origin[key])})" for key in ("left", "unused") if origin.get(key)]
    head = f"; the last layer, {origin['new_head']!r}, is new" if "new_head" in origin else ""
    return ", ".join(parts) + head


def check_source(
    run: RunSpec,
    model: nn.Module,
    planned: Mapping[str, RunSpec],
    runs_dir: Path,
    cache: DataCache,
    afresh: bool = False,
) -> None:
    """Looks whether what a run begins with is there and fits, before anything is trained.

    `planned` has the runs of the same experiment by their labels: one among them need not be trained yet, and is known
    by its spec. A run that was begun needs its source no more, but where all are to begin `afresh`.

    Raises:
        UsageError: as `begin_from_source`.
    """
    source = run.settings.model.init_from
    if source is None or (_is_begun(run, runs_dir) and not afresh):
        return
    if is_planned(source, run, planned):
        other = planned[source.name_for(run.seed)]
        if not other.settings.checkpoint.best and source.weights == "best":
            raise UsageError(_no_best(other.label))
        data = cache.get(other.settings, torch.device("cpu"), other.seed)
        generator = torch.get_rng_state()
        weights = dict(build_model(other.settings, data, 0).state_dict())
        torch.set_rng_state(generator)
        match_weights(source, f"run {other.label}", weights, model)
        return
    weights, record = _read(source, run.seed, cache.teachers_in or runs_dir)
    match_weights(source, _name(record), weights, model)


def check_sources_are_there(
    runs: Iterable[RunSpec], planned: Mapping[str, RunSpec], runs_dir: Path, afresh: bool = False
) -> None:
    """Looks for what runs of every seed begin with, as `check_source` does, without reading any weights.

    Raises:
        UsageError: a run or file is missing that is not `planned`, or a run is not trained to its end, or learned from
            what this one is judged by.
    """
    for run in runs:
        source = run.settings.model.init_from
        if source is not None and (afresh or not _is_begun(run, runs_dir)):
            check_is_there(source, run, planned, runs_dir, ROLE)
            _check_fold(source, run, planned, runs_dir)


def _check_fold(source: InitFromSpec, run: RunSpec, planned: Mapping[str, RunSpec], runs_dir: Path) -> None:
    """Raises UsageError where its source learned, on the same data, from the rows that a run is judged by."""
    ours = run.settings.data.for_seed(run.seed)
    if source.checkpoint is not None or not ours.drawn_for:
        return
    label = source.name_for(run.seed)
    if is_planned(source, run, planned):
        other = planned[label]
    else:
        other = read_spec(find_source(source, run.seed, runs_dir, ROLE).folder)
    theirs = other.settings.data.for_seed(other.seed)
    if same_rows(theirs, ours):
        check_same_fold(f"{KEY}: {label}", theirs, ours)


def _is_begun(run: RunSpec, runs_dir: Path) -> bool:
    return (place(run, runs_dir).folder / checkpoint.FOLDER / checkpoint.LAST).is_file()


def _read(source: InitFromSpec, seed: int, runs_dir: Path) -> tuple[dict[str, Tensor], Record]:
    """The weights by name, and where they are from."""
    if source.checkpoint is not None:
        path = source.name_for(seed)
        try:
            weights, _ = read_weights(Path(path))
        except CheckpointError as error:
            raise UsageError(f"{KEY}.checkpoint: {path}: {error}") from None
        return weights, {"checkpoint": path, "sha256": checkpoint.checksum(weights)}
    record = find_source(source, seed, runs_dir, ROLE)
    try:
        settings = read_spec(record.folder).settings
        if source.weights == "best":
            if not settings.checkpoint.best:
                raise UsageError(_no_best(record.name))
            found = checkpoint.load(record.folder / checkpoint.FOLDER / checkpoint.BEST)
            weights, step = found["model"], int(found["step"])
        else:
            if settings.strategy.average is not None or settings.optimizer.inner.shows_others:
                raise UsageError(f"{KEY}: the last weights of {record.name} are an average: take its best ones")
            saved, _ = checkpoint.load_latest(record.folder / checkpoint.FOLDER)
            if saved is None:
                raise CheckpointError(f"{record.folder} has no checkpoint")
            weights, step = saved["state"]["model"], int(saved["state"]["progress"]["step"])
    except UsageError:
        raise
    except NnoptError as error:
        raise UsageError(f"{KEY}: {record.name}: {error}") from None
    told: Record = {"run": record.name, "weights": source.weights, "step": step}
    return weights, told | {"sha256": checkpoint.checksum(weights)}


def _no_best(name: str) -> str:
    return f"{KEY}: {name} keeps no best weights (checkpoint.best: false): take weights: last"


def _name(record: Record) -> str:
    return str(record.get("checkpoint") or f"run {record['run']}")


def _is_alike(found: Tensor | None, own: Tensor) -> bool:
    if not isinstance(found, Tensor) or found.shape != own.shape:
        return False
    return found.is_floating_point() == own.is_floating_point()


def _last_layer(model: nn.Module) -> str:
    """The name of the last layer that has parameters of its own."""
    own = [name for name, layer in model.named_modules() if any(True for _ in layer.parameters(recurse=False))]
    return own[-1] if own else ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
