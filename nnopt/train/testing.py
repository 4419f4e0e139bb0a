"""Metrics on the test data: read once, now that training is over."""

from __future__ import annotations

from typing import Any

from nnopt.errors import CheckpointError
from nnopt.structure.network import load_weights
from nnopt.train import checkpoint
from nnopt.train.judging import evaluate_part
from nnopt.train.session import Session


def test(session: Session) -> dict[str, Any]:
    """Metrics on the test data of the last and of the best weights; the network is as it was afterwards."""
    setup, state = session.setup, session.state
    with state.clock.account("evaluation"):
        last = evaluate_part(setup, state, "test")
        tests: dict[str, Any] = {"last": last.values, "best": None}
        if last.confusion is not None:
            tests["confusion"] = last.confusion
        wanted = state.progress.bests.get(setup.settings.select)
        if wanted is not None and wanted["step"] == state.progress.step:
            tests["best"] = {**last.values, "step": wanted["step"]}
            return tests
        weights = setup.together.team.told(_best_weights(session) if setup.together.team.is_lead else None)
        if weights is not None and wanted is not None:
            tests["best"] = {**_values_of(session, weights), "step": wanted["step"]}
    return tests


def _best_weights(session: Session) -> dict[str, Any] | None:
    """The best weights by name, as they are on disk; None where there are none, and run.log says why."""
    if not session.setup.settings.checkpoint.best:
        return None
    try:
        best = checkpoint.load(session.folder / checkpoint.FOLDER / checkpoint.BEST)
    except CheckpointError as error:
        session.put_down(f"the best weights are not tested: {error}")
        return None
    wanted = session.state.progress.bests.get(session.setup.settings.select)
    if wanted is None or best["step"] != wanted["step"]:
        session.put_down("the best weights are not tested: those on disk are of another step")
        return None
    weights: dict[str, Any] = best["model"]
    return weights


def _values_of(session: Session, weights: dict[str, Any]) -> dict[str, float]:
    state, together = session.state, session.setup.together
    own = {name: tensor.clone() for name, tensor in together.model_state(state.model).items()}
    average, state.average = state.average, None  # the best weights are averaged ones already
    if not together.load_model(state.model, weights):
        load_weights(state.model, weights)
    values = evaluate_part(session.setup, state, "test").values
    if not together.load_model(state.model, own):
        load_weights(state.model, own)
    state.average = average
    return values
