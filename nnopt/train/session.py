"""One sitting of a run, from its start or resumption to its end or interruption; and what it keeps on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnopt.errors import PrunedError
from nnopt.plan import RunSpec
from nnopt.store.record import METRICS, Columns, read_columns
from nnopt.structure.network import record_of
from nnopt.track.tracking import Tracking
from nnopt.train import checkpoint
from nnopt.train.accounts import Accounts
from nnopt.train.engine import Engine
from nnopt.train.listener import Listener
from nnopt.train.memory import PeakMemory
from nnopt.train.output import RunLog, StepRecorder, Tables
from nnopt.train.parallel.pace import Pace, pace_of
from nnopt.train.parallel.whole import whole_state
from nnopt.train.setup import Setup
from nnopt.train.signals import StopRequest
from nnopt.train.state import TrainState
from nnopt.train.trajectory import Trajectory

# Looks at a run's seed and its metrics.csv after an evaluation: a reason to end the run as pruned, or None.
# It crosses process borders, so it holds plain values; and it is pure, so that a resumed run ends at the same place.
Cut = Callable[[int, Columns], str | None]


@dataclass
class Session:
    """One sitting of a run: what it is, where it writes, who listens, who may stop it."""

    run: RunSpec
    setup: Setup
    state: TrainState
    folder: Path
    tables: Tables
    listener: Listener
    stop: StopRequest
    engine: Engine
    tracking: Tracking = field(default_factory=Tracking)
    cut: Cut | None = None
    log: RunLog | None = None
    accounts: Accounts = field(default_factory=Accounts)
    trajectory: Trajectory | None = None
    recorder: StepRecorder = field(init=False)
    memory: PeakMemory = field(init=False)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = StepRecorder(self.tables, self.setup.settings.logging.every, self.tracking.steps)
        self.memory = PeakMemory(self.setup.device)
        self.pace = pace_of(self.setup.together.team, self.state.clock, self.stop)

    def now(self) -> float:
        """Training seconds up to now, as they count for what is due."""
        return self.pace.now()

    def put_down(self, text: str) -> None:
        """Writes in run.log what happened to the network."""
        if self.log is not None:
            self.log.write(text)

    def say(self, text: str) -> None:
        """Puts it down, and tells whoever watches: something that a user should know at once."""
        self.put_down(text)
        self.listener.note(self.run.label, text)


def flush(session: Session) -> None:
    """Writes the logged steps so far, and adds their losses to the means.

    Raises:
        DivergedError: one of the losses is not finite.
    """
    state = session.state
    with state.clock.account("logging"):
        if session.trajectory is not None:
            session.trajectory.flush()
        session.recorder.flush(state.progress.step, state.means, state.progress, session.setup.together.team)


def save_state(session: Session) -> None:
    """Writes the whole state as the newest checkpoint."""
    together = session.setup.together
    with session.state.clock.account("checkpoint"):
        state, replicas = whole_state(session.state, together)
        if not together.team.is_lead:
            return
        folder = session.folder / checkpoint.FOLDER
        session.tables.sync()
        teachers = [teacher["sha256"] for teacher in session.setup.teachers]
        content = {"identity": identity(session.run), "teachers": teachers, "state": state}
        engine = session.engine.state_dict()
        content |= {"engine": engine} if engine else {}
        checkpoint.save_last(folder, content if together.team.is_alone else {**content, "replicas": replicas})


def ask_cut(session: Session) -> None:
    """Ends the run where its search has seen enough of it: asked after an evaluation that is not the last.

    Raises:
        PrunedError: with the reason.
    """
    if session.cut is None:
        return
    team = session.setup.together.team
    with session.state.clock.account("evaluation"):
        known = session.cut(session.run.seed, read_columns(session.folder / METRICS)) if team.is_lead else None
        reason = team.told(known)
    if reason is not None:
        raise PrunedError(reason)


def save_best(session: Session, column: str) -> None:
    """Writes the weights that were just evaluated (averaged ones, where there is an average)."""
    state, together = session.state, session.setup.together

    def save() -> None:
        best = state.progress.bests[column]
        content: dict[str, Any] = {
            "identity": identity(session.run),
            "metric": column,
            **best,
            "model": together.model_state(state.delivered or state.model),
            "network": None if state.shaping is None else record_of(state.delivered or state.model),
        }
        if together.team.is_lead:
            checkpoint.save(session.folder / checkpoint.FOLDER / checkpoint.BEST, content)

    with state.clock.account("checkpoint"), together.judged():
        if state.average is None or state.delivered is not None:
            save()
        else:
            with state.average.in_place():
                save()


def identity(run: RunSpec) -> dict[str, Any]:
    """What a checkpoint is of."""
    return {
        "run": run.label,
        "spec_hash": run.hash,
        "hash_without_budget": run.hash_without_budget,
        "seed": run.seed,
    }
