"""The training loop: visible from the first batch to the last."""

from __future__ import annotations

import math
import time

from nnopt.train.horizon import Period
from nnopt.train.judging import judge, trains_to_the_end
from nnopt.train.listener import Moment
from nnopt.train.session import Session, ask_cut, flush, save_state
from nnopt.train.shaping.advance import advance
from nnopt.train.updating import follow, share_used
from nnopt.train.warming import warm_up

PULSE_SECONDS = 0.1  # how often a watcher hears of a run
BUDGET_USED = "the budget is used up"


def train(session: Session) -> str:
    """Trains until the budget is used up or early stopping ends it; says which.

    Raises:
        DivergedError: a loss is not finite.
        PrunedError: the run's search ends it.
        Interrupted: a signal came; the state is checkpointed.
        DiskError: the disk refused a write.
    """
    settings, state = session.setup.settings, session.state
    progress, clock = state.progress, state.clock
    agenda, pulse = Agenda(session), Pulse(session)
    session.setup.backward.evaluations = progress.gradient_evaluations
    lr = settings.optimizer.peak_lr

    session.pace.look(progress.step)
    advance(session, share_used(session))
    warm_up(session)
    if settings.evaluation.at_start and progress.step == 0 and progress.last_row is None:
        judge(session, lr)
    clock.switch("train")
    judged = None
    while not (agenda.is_over(session.now()) or reason_to_stop(session) is not None):
        if progress.last_row is not judged:
            judged = progress.last_row
            ask_cut(session)
        if session.pace.is_stopped:
            agenda.keep()
            session.pace.raise_if_stopped()
        share, lr = session.engine.update(session)
        session.pace.look(progress.step)
        now = session.now()
        follow(session, share, now)
        if state.shaping:
            advance(session, share_used(session))
        if agenda.evaluation_is_due(now):
            session.engine.rest(session)
            judge(session, lr)
            if agenda.keeps_at_evaluations:
                agenda.keep()
        elif now > pulse.next:
            pulse.beat(share, lr)
        if agenda.checkpoint_is_due(now):
            agenda.keep()

    is_judged = progress.last_row is not None and progress.last_row["step"] == progress.step
    if state.shaping and not state.shaping.is_over:
        advance(session, 1.0)
        if is_judged:  # it stopped early, before the changes that follow training
            session.tables.take_back(progress.step)
            is_judged = False
    if not is_judged:
        judge(session, lr)  # a budget of seconds that ran out between two looks at the clock
        agenda.keep()
    elif agenda.kept_step != progress.step:
        agenda.keep()
    return reason_to_stop(session) or BUDGET_USED


def reason_to_stop(session: Session) -> str | None:
    """Why a run ends before its budget is used up, in words; None while it does not."""
    state, target = session.state, session.setup.settings.evaluation.target
    if state.stopping and state.stopping.reached:
        return state.stopping.reason
    if target is not None and target.stop and state.progress.target is not None and trains_to_the_end(state):
        return f"stopped at the target: {target.metric} {target.value:g}"
    return None


class Agenda:
    """What is due after an update: the end, an evaluation, a checkpoint."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.progress = session.state.progress
        settings, samples = session.setup.settings, session.setup.feed.samples
        every = settings.checkpoint.every
        self.keeps_at_evaluations = every is None
        self.evaluations = Period(settings.evaluation.every, samples)
        self.checkpoints = Period(every or settings.evaluation.every, samples)
        now = session.now()
        self.evaluated = self.evaluations.passed(self.progress.step, self.progress.samples, now)
        self.kept = self.checkpoints.passed(self.progress.step, self.progress.samples, now)
        self.kept_step = self.progress.step

    def is_over(self, now: float) -> bool:
        """Whether the budget is used up at `now` training seconds."""
        return self.session.setup.horizon.used_up(self.progress.step, self.progress.samples, now)

    def evaluation_is_due(self, now: float) -> bool:
        """Whether a period has ended since this was last asked, or the budget."""
        before = self.evaluated
        self.evaluated = self.evaluations.passed(self.progress.step, self.progress.samples, now)
        return self.evaluated > before or self.is_over(now)

    def checkpoint_is_due(self, now: float) -> bool:
        """Whether a period of `checkpoint.every` has ended since this was last asked."""
        if self.keeps_at_evaluations:
            return False
        before = self.kept
        self.kept = self.checkpoints.passed(self.progress.step, self.progress.samples, now)
        return self.kept > before

    def keep(self) -> None:
        """Writes a checkpoint of the present step."""
        self.session.engine.rest(self.session)
        flush(self.session)
        save_state(self.session)
        self.kept_step = self.progress.step


class Pulse:
    """Tells the listener how a run is doing, about ten times a second."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.next = 0.0  # training seconds from which on the next beat is due
        self._before = (time.perf_counter(), session.state.progress.samples)

    def beat(self, share: float, lr: float) -> None:
        """Reads the losses since the last beat (an accelerator is not waited for) and passes them on."""
        session, progress = self.session, self.session.state.progress
        if session.setup.device.type == "cpu":
            flush(session)
        now = (time.perf_counter(), progress.samples)
        rate = (now[1] - self._before[1]) / max(now[0] - self._before[0], 1e-9)
        self._before = now
        loss = math.nan if progress.last_loss is None else progress.last_loss
        session.listener.moment(session.run.label, Moment(progress.step, share, loss, lr, rate))
        self.next = session.now() + PULSE_SECONDS
