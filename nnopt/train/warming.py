"""Compiling and recording, done before the updates that need it: their seconds are none of training."""

from __future__ import annotations

import torch

from nnopt.structure.network import load_weights
from nnopt.train.graphs import replaying
from nnopt.train.session import Session
from nnopt.train.state import generator_states, set_generator_states


def warm_up(session: Session, afresh: bool = False) -> None:
    """Compiles the model and records an update, where asked; what that does to the run is undone.

    `afresh` forgets what was compiled before: torch stops to compile after a handful of networks, and what it makes of
    one depends on those before.
    """
    strategy = session.setup.settings.strategy
    if not (strategy.compile or strategy.graph):
        return
    with session.state.clock.account("compile"):
        if strategy.compile:
            _compile(session, afresh)
        if strategy.graph:
            session.engine = replaying(session)


def _compile(session: Session, afresh: bool) -> None:
    """Forward and backward passes for each size of batch that an epoch has; no gradient is left."""
    setup, state = session.setup, session.state
    if afresh:
        torch.compiler.reset()
    weights = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    generators = generator_states(state.device)
    size, samples = setup.horizon.batch_size(0.0), len(setup.data.train)
    for rows in filter(None, (size, samples % size)):
        setup.backward.begin(setup.feed.of(torch.arange(rows, device=state.device)), norm_wanted=False)
        setup.backward()
    setup.parameters.zero_gradients()
    load_weights(state.model, weights)
    set_generator_states(generators, state.device)
    setup.backward.evaluations = state.progress.gradient_evaluations
