"""Changes of the network carried out as they fall due, and what each did to the quality."""

from __future__ import annotations

from nnopt.structure.network import count_nonzero, count_parameters
from nnopt.train.judging import evaluate_part
from nnopt.train.session import Session, flush
from nnopt.train.shaping.shaping import Shaping
from nnopt.train.stopping import Stopping
from nnopt.train.warming import warm_up


def advance(session: Session, share: float) -> None:
    """Carries out the changes that are due once `share` of the budget is used.

    Each has a row in structure.csv but those that leave the answers as they are. From the last of the others on, bests
    and the time to the target count anew: they are to be those of the network that comes out.
    """
    shaping = session.state.shaping
    while shaping is not None and (due := shaping.next_due(share)) is not None:
        operation, index = due
        if index in operation.quiet:
            with session.state.clock.account("structure"):
                operation.change(index)
            shaping.done += 1
            continue
        if share >= 1.0 and not operation.changes_answers:  # no update follows that it could change
            shaping.done += 1
            continue
        flush(session)
        with session.state.clock.account("structure"):
            is_judged = operation.judged and operation.changes_answers
            before = _validate(session) if is_judged else {}
            if share >= 1.0 and operation.reshapes:
                _adopt_average(session)
            said = operation.change(index)
            shaping.done += 1
            if operation.changes_answers:
                after = _validate(session) if is_judged else {}
                _write(session, operation.name, before, after)
                _begin_anew(session, shaping)
            if operation.recompiles and share < 1.0:
                warm_up(session, afresh=True)
        if operation.judged or index == len(operation.shares) - 1:
            session.put_down(said)


def _validate(session: Session) -> dict[str, float]:
    return evaluate_part(session.setup, session.state, "validation").values


def _adopt_average(session: Session) -> None:
    """The averaged weights become the network's own: tensors are to change their shape, and no update follows."""
    average = session.state.average
    if average is not None and average.ready:
        average.adopt()


def _write(session: Session, change: str, before: dict[str, float], after: dict[str, float]) -> None:
    state, progress = session.state, session.state.progress
    network = state.delivered or state.model
    row: dict[str, float | int | str | None] = {
        "step": progress.step,
        "epoch": progress.samples / len(session.setup.data.train),
        "change": change,
        "parameters": count_parameters(network),
        "nonzero_parameters": count_nonzero(network),
    }
    for name in session.setup.metrics:
        row[f"val_{name}_before"] = before.get(name)
        row[f"val_{name}_after"] = after.get(name)
    session.tables.add_change(row)


def _begin_anew(session: Session, shaping: Shaping) -> None:
    progress = session.state.progress
    progress.bests = {}
    progress.target = None
    progress.final_step = progress.step
    # Once training is over, what ended it is to be known.
    if session.state.stopping is not None and not shaping.is_past_training:
        session.state.stopping = Stopping(session.state.stopping.spec)
