"""layers.csv, and a word while a network trains when its gradients vanish or explode, or its units die."""

from __future__ import annotations

from nnopt.structure.diagnosis import SAMPLES, dying, examine, exploding, vanishing
from nnopt.train.session import Session
from nnopt.train.state import generator_states, set_generator_states


def diagnose(session: Session) -> None:
    """Writes how each layer does at an evaluation, and says what is worth a word; nothing where it is switched off.

    Seen are the weights that train, not their average, on the first samples of the validation data. What the model
    draws at random, should it do so when it is evaluated, is put back.
    """
    table = session.tables.layers
    if table is None or session.setup.together.is_sharded:  # no process has a layer whole
        return
    setup, state = session.setup, session.state
    with state.clock.account("evaluation"):
        generators = generator_states(state.device)
        states = examine(state.model, setup.data.validation.first(SAMPLES), setup.autocast)
        set_generator_states(generators, state.device)
    with state.clock.account("logging"):
        step = state.progress.step
        table.append([[step, *(getattr(one, column) for column in table.columns[1:])] for one in states])
        if step > 0:
            _say(session, "vanish", vanishing(states))
            _say(session, "die", dying(state.model, states))
            look_back(session)


def look_back(session: Session) -> None:
    """Says it where the gradient's norm or the loss grew by orders: also once a loss is not finite."""
    if session.tables.layers is not None:
        extremes = session.state.progress.extremes
        for what, (first, largest) in extremes.items():
            _say(session, "explode", exploding(what, first, largest))


def _say(session: Session, kind: str, text: str | None) -> None:
    """Says it once a run, whatever stops and goes on."""
    said = session.state.progress.diagnosis
    if text is not None and kind not in said:
        said[kind] = f"step {session.state.progress.step}: {text}"
        session.say(said[kind])
