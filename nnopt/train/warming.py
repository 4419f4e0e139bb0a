"""torch.compile, done before the updates that need it: its seconds are none of training."""

from __future__ import annotations

import torch

from nnopt.structure.network import load_weights
from nnopt.train.session import Session
from nnopt.train.state import generator_states, set_generator_states


def warm_up(session: Session, afresh: bool = False) -> None:
    """Compiles, where asked, by forward and backward passes for each size of batch that an epoch has.

    What they do to the network is undone; no gradient is left. `afresh` forgets what was compiled before: torch stops
    to compile after a handful of networks, and what it makes of one depends on those before.
    """
    setup, state = session.setup, session.state
    if not setup.settings.strategy.compile:
        return
    with state.clock.account("compile"):
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
