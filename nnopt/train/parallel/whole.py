"""The state of a run whose processes each hold something of it: gathered for the checkpoint, and given back."""

from __future__ import annotations

from typing import Any

from nnopt.structure.network import load_weights
from nnopt.train.parallel.together import Together
from nnopt.train.state import TrainState, set_generator_states


def whole_state(state: TrainState, together: Together) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a run goes on from, and what each process has besides, by rank: the latter is the lead's to know.

    The weights are those of the whole network (of replicas that wander their mean), so that any number of processes,
    and whoever reads a checkpoint, can take them.
    """
    own = together.own_state(state.state_dict())
    replicas = together.team.gathered(own) if not together.team.is_alone else []
    with together.judged():
        found = {**state.state_dict(), "model": together.model_state(state.model)}
    return found, replicas


def take_whole_state(
    state: TrainState, together: Together, saved: dict[str, Any], replicas: list[dict[str, Any]]
) -> None:
    """Takes back what `whole_state` gave; a process that was not there then begins with generators of its own."""
    before = state.state_dict()["generators"]
    state.load_state_dict(saved, lambda weights: together.load_model(state.model, weights))
    team = together.team
    if team.is_alone:
        return
    if team.rank >= len(replicas):
        if not team.is_lead:
            set_generator_states(before, state.device)
        return
    own = replicas[team.rank]
    set_generator_states(own["generators"], state.device)
    if "model" in own:
        load_weights(state.model, own["model"])
        state.optimizer.load_state_dict(own["optimizer"])
