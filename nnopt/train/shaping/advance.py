"""Changes of the network carried out as they fall due, and what each did to the quality."""

from __future__ import annotations

from nnopt.structure.network import count_nonzero, count_parameters
from nnopt.train.judging import evaluate_part
from nnopt.train.session import Session, flush
from nnopt.train.stopping import Stopping


def advance(session: Session, share: float) -> None:
    """Carries out the changes that are due once `share` of the budget is used.

    Each has a row in structure.csv. From the last on, bests and the time to the target count anew: they are to be
    those of the network that comes out.
    """
    shaping = session.state.shaping
    while shaping is not None and (due := shaping.next_due(share)) is not None:
        operation, index = due
        flush(session)
        with session.state.clock.account("structure"):
            before = _validate(session) if operation.judged else {}
            said = operation.change(index)
            shaping.done += 1
            after = _validate(session) if operation.judged else {}
            _write(session, before, after)
            _begin_anew(session)
        if operation.judged or index == len(operation.shares) - 1:
            session.say(said)


def _validate(session: Session) -> dict[str, float]:
    return evaluate_part(session.setup, session.state, "validation").values


def _write(session: Session, before: dict[str, float], after: dict[str, float]) -> None:
    state, progress = session.state, session.state.progress
    network = state.delivered or state.model
    row: dict[str, float | int | None] = {
        "step": progress.step,
        "epoch": progress.samples / len(session.setup.data.train),
        "parameters": count_parameters(network),
        "nonzero_parameters": count_nonzero(network),
    }
    for name in session.setup.metrics:
        row[f"val_{name}_before"] = before.get(name)
        row[f"val_{name}_after"] = after.get(name)
    session.tables.add_change(row)


def _begin_anew(session: Session) -> None:
    progress = session.state.progress
    progress.bests = {}
    progress.target = None
    if session.state.stopping is not None:
        session.state.stopping = Stopping(session.state.stopping.spec)
