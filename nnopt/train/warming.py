"""Compiling, recording and what processes set up at their first passes, done before the updates that need it.

The seconds of all this are none of training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnopt.train.graphs import replaying
from nnopt.train.session import Session
from nnopt.train.state import generator_states, set_generator_states


def warm_up(session: Session, afresh: bool = False) -> None:
    """Compiles the model and records an update, where asked, and lets processes set up; what that changes is undone.

    `afresh` forgets what was compiled before: torch stops to compile after a handful of networks, and what it makes of
    one depends on those before.
    """
    setup = session.setup
    strategy, clock = setup.settings.strategy, session.state.clock
    size, samples = setup.horizon.batch_size(0.0), len(setup.data.train)
    if strategy.compile:
        with clock.account("compile"):
            if afresh:
                torch.compiler.reset()
            _pass_through(session, [rows for rows in (size, samples % size) if rows])
    if setup.together.passes_to_set_up:
        with clock.account("setup"):
            _pass_through(session, [size] * setup.together.passes_to_set_up)
    if strategy.graph:
        with clock.account("compile"):
            session.engine = replaying(session)


def _pass_through(session: Session, sizes: Sequence[int]) -> None:
    """Forward and backward passes with batches of these sizes, which leave no trace in the run."""
    setup, state = session.setup, session.state
    buffers = [buffer.clone() for buffer in state.model.buffers()]
    generators = generator_states(state.device)
    for rows in sizes:
        setup.backward.begin(setup.feed.of(torch.arange(rows, device=state.device)), norm_wanted=False)
        setup.backward()
    setup.parameters.zero_gradients()
    with torch.no_grad():
        for buffer, before in zip(state.model.buffers(), buffers, strict=True):
            buffer.copy_(before)
    set_generator_states(generators, state.device)
    setup.backward.evaluations = state.progress.gradient_evaluations
