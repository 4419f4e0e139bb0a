"""Updates one after the other in this process; and what every way of updating asks: how far, at which rate."""

from __future__ import annotations

from nnopt.optim.optimizer import Rate
from nnopt.stages import stage
from nnopt.train.engine import Engine
from nnopt.train.session import Session
from nnopt.train.state import TrainState
from nnopt.train.step import Pass


def share_used(session: Session) -> float:
    """The share of the budget that is used, 1 at its end."""
    setup, progress, now = session.setup, session.state.progress, session.now()
    if setup.horizon.used_up(progress.step, progress.samples, now):
        return 1.0
    return setup.horizon.shares(progress.step, progress.samples, now)[0]


def rate_at(session: Session, step: int, samples: int) -> tuple[float, float]:
    """The share of the budget used after so many steps and samples, and the learning rate of the next update."""
    setup, state = session.setup, session.state
    before, after = setup.horizon.shares(step, samples, session.now())
    seen = (before, after) if state.shaping is None else state.shaping.rate_shares(before, after)
    lr = setup.settings.optimizer.peak_lr * setup.settings.strategy.lr_decay.multiplier(*seen)
    return before, lr * state.plateau.multiplier if state.plateau else lr


def follow(session: Session, before: float, now: float) -> None:
    """What goes with every update, which began at share `before` of the budget: masks held, the average moved on."""
    state, progress = session.state, session.state.progress
    session.setup.together.after_update(progress.step)
    if state.shaping:
        state.shaping.after_update()
    if state.average:
        with stage("average"):
            state.average.update(before, progress.step, progress.samples, now)


class InTurn(Engine):
    """One update after the other, as the textbook has it."""

    def update(self, session: Session) -> tuple[float, float]:
        """As Engine says."""
        setup, state = session.setup, session.state
        progress, backward = state.progress, setup.backward
        before, lr = rate_at(session, progress.step, progress.samples)
        size, norm_wanted = setup.horizon.batch_size(before), session.recorder.logs(progress.step + 1)
        samples = self.step(session, size, lr, norm_wanted)
        assert backward.loss is not None
        progress.step += 1
        progress.samples += samples
        progress.gradient_evaluations = backward.evaluations
        session.recorder.add(backward.loss, lr, backward.gradient_norm)
        if session.trajectory is not None and backward.norm_wanted:
            with state.clock.account("logging"):
                session.trajectory.note(state)
        return before, lr

    def step(self, session: Session, size: int, lr: float, norm_wanted: bool) -> int:
        """Moves the weights by the next batch; its samples. `setup.backward` knows its loss and its gradient's norm."""
        setup, state = session.setup, session.state
        with stage("data"):
            batch = setup.feed.take(state.position, size)
        setup.backward.begin(batch, norm_wanted)
        with stage("optimizer"):
            move(state, setup.backward, lr)
        return batch.samples


def move(state: TrainState, backward: Pass, lr: Rate) -> None:
    """The optimizer's step on the batch that `backward` holds; nothing here waits for the device."""
    if state.scaler is None:
        state.optimizer.step(backward, lr)
    else:
        state.optimizer.step(backward, lr, state.scaler.finite)
        state.scaler.update()
