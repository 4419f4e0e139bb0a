"""Processes of one machine that update weights in shared memory without waiting for each other (Hogwild).

Recht et al. 2011, arXiv:1106.5730. The run's own process is one of them. They take the batches in their order, each as
soon as it is free: from one rest (for an evaluation, a checkpoint, a look at the clock) to the next, when the weights
are still. Each has an optimizer of its own that works on the shared weights: two that changed one momentum or one
second moment in turns would lose writes to it as well, and rules that keep a count of their steps, or whose memory is
not a sum, would be broken by that.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch

from nnopt.errors import LostError, NnoptError, TrainingError
from nnopt.plan import RunSpec
from nnopt.randomness import derive
from nnopt.stages import stage
from nnopt.train.engine import Engine, Traffic
from nnopt.train.horizon import Period
from nnopt.train.output import logs
from nnopt.train.parallel.course import Course, Start
from nnopt.train.parallel.shared_memory import CAPACITY, Board, SharedNetwork
from nnopt.train.parallel.staleness import Staleness
from nnopt.train.session import Session
from nnopt.train.setup import DataCache, Setup, build
from nnopt.train.signals import no_interrupts
from nnopt.train.state import TrainState

SECONDS_TO_REST = 0.1  # how long they work between two rests, unless something is due before
LEAST_UPDATES = 8  # of the run's own process between two rests: where batches take long, a rest costs half of one
PATIENCE = 30.0  # seconds in which a helper ends that was asked to

READY, DONE, MEMORY, FAILED = "ready", "done", "memory", "failed"


@dataclass
class _Helper:
    process: BaseProcess
    connection: Connection


class Hogwild(Engine):
    """The run's own process and those that help it."""

    def __init__(self, session: Session, processes: int, saved: dict[str, Any]) -> None:
        """Starts the helpers and waits until all are ready; `saved` is what `state_dict` gave, or empty.

        Raises:
            NnoptError: a helper cannot be started.
        """
        setup, state = session.setup, session.state
        self.processes = processes
        self.session = session
        self.staleness = Staleness()
        self.board = Board()
        self.network = SharedNetwork.of(setup.parameters, state.model)
        self.agenda = _Agenda(setup, state)
        self.helpers: list[_Helper] = []
        memories = [None] * (processes - 1)
        if saved:
            self.staleness.load_state_dict(saved["staleness"])
            memories = saved["optimizers"]
        try:
            for place, memory in enumerate(memories, 2):
                self._hire(place, memory)
            self._listen(READY)
        except BaseException:
            self.close()
            raise

    def _hire(self, place: int, memory: dict[str, Any] | None) -> None:
        session = self.session
        context = multiprocessing.get_context("spawn")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait should sleep, not spin
        ours, theirs = context.Pipe()
        task = HelpersTask(
            session.run, self.network, self.board, place, session.setup.threads, os.getpid(), _packed(memory)
        )
        process = context.Process(target=help_out, args=(theirs, task), daemon=True)
        with no_interrupts():
            process.start()
        theirs.close()
        self.helpers.append(_Helper(process, ours))

    def update(self, session: Session) -> tuple[float, float]:
        """Updates by all processes until something is due; see Engine.

        Raises:
            LostError: a helper is no more.
            TrainingError: a helper failed.
        """
        progress, state, setup = session.state.progress, session.state, session.setup
        position, factor = state.position, 1.0 if state.plateau is None else state.plateau.multiplier
        start = Start(progress.step, progress.samples, position.epoch, position.offset, session.now(), factor)
        self.board.open(start.step, self.agenda.next_due(start))
        for helper in self.helpers:
            _send(helper, start)
        take_part(setup, state, self.board, start, self.is_alone, _Watch(session, start, self.agenda), self._check)
        with stage("synchronisation"):
            self._listen(DONE)
        return self._take_down(session, Course(setup, start))

    @property
    def is_alone(self) -> bool:
        """Whether nobody helps: then this is training as ever, to the bit."""
        return self.processes == 1

    def _take_down(self, session: Session, course: Course) -> tuple[float, float]:
        """What came of the updates since the last rest, in order."""
        progress, first = session.state.progress, course.step
        losses, rates, norms, ages = self.board.taken_down()
        share = 0.0
        for step, (loss, lr, norm, age) in enumerate(zip(losses, rates, norms, ages, strict=True), first + 1):
            session.recorder.add(loss, lr, norm if session.recorder.logs(step) else None)
            self.staleness.add(age)
            share = course.rate()[0]
            course.go_to(step)
        session.state.position = course.position
        progress.samples = course.samples
        progress.step += len(rates)
        progress.gradient_evaluations += len(rates)
        session.setup.backward.evaluations = progress.gradient_evaluations
        return share, rates[-1]

    def traffic(self) -> Traffic:
        """As Engine says."""
        return self.staleness.take()

    def state_dict(self) -> dict[str, Any]:
        """As Engine says: the memories of the helpers' optimizers; that of this process is with the run's state."""
        for helper in self.helpers:
            _send(helper, MEMORY)
        return {"optimizers": self._listen(MEMORY), "staleness": self.staleness.state_dict()}

    def close(self) -> None:
        """As Engine says."""
        self.board.stop()
        for helper in self.helpers:
            helper.connection.close()
        end = time.monotonic() + PATIENCE
        for helper in self.helpers:
            helper.process.join(timeout=max(0.0, end - time.monotonic()))
            if helper.process.is_alive():
                helper.process.kill()
                helper.process.join()
        self.helpers = []

    def _listen(self, word: str) -> list[Any]:
        """Waits until each helper has said `word`: what it said with it, in their order."""
        said: dict[int, Any] = {}
        places = {helper.connection: place for place, helper in enumerate(self.helpers)}
        while len(said) < len(places):
            missing = [connection for connection, place in places.items() if place not in said]
            for ready in cast(list[Connection], wait(missing)):
                place = places[ready]
                try:
                    found, content = ready.recv()
                except (EOFError, OSError):
                    raise self._lost(place) from None
                if found == FAILED:
                    self._tell_of(place, *content)
                assert found == word
                said[place] = _unpacked(content)
        return [said[place] for place in range(len(places))]

    def _check(self) -> None:
        """Raises LostError where a helper is no more."""
        for place, helper in enumerate(self.helpers):
            if not helper.process.is_alive():
                raise self._lost(place)

    def _lost(self, place: int) -> LostError:
        process = self.helpers[place].process
        process.join(timeout=5)
        code = process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return LostError(f"process {place + 2} of {self.processes} was lost ({how})")

    def _tell_of(self, place: int, message: str, trace: str | None) -> None:
        """Raises TrainingError with the message of a helper that failed."""
        which = f"process {place + 2} of {self.processes}"
        if trace is not None:
            self.session.put_down(f"{which} failed:\n{trace}")
        raise TrainingError(f"{which}: {message}")


class _Agenda:
    """Before which update all processes have to rest, and after how many seconds at the latest."""

    def __init__(self, setup: Setup, state: TrainState) -> None:
        settings = setup.settings
        everys = [settings.evaluation.every, *([settings.checkpoint.every] if settings.checkpoint.every else [])]
        self.periods = [Period(every, setup.feed.samples) for every in everys]
        self.seconds = [every.seconds for every in everys if every.seconds is not None]
        self.budget = settings.budget.seconds
        self.setup = setup
        self.ahead: Course | None = None
        self.is_due = False

    def next_due(self, start: Start) -> int:
        """The number of updates after which something is due, at most CAPACITY from now."""
        if self.ahead is None or self.ahead.step <= start.step:
            self.ahead, self.is_due = Course(self.setup, start), False
        while not self.is_due and self.ahead.step < start.step + CAPACITY:
            before = self._passed(self.ahead)
            self.ahead.go_to(self.ahead.step + 1)
            over = self.budget is None and self.setup.horizon.used_up(self.ahead.step, self.ahead.samples, 0.0)
            self.is_due = over or self._passed(self.ahead) != before
        return min(self.ahead.step, start.step + CAPACITY)

    def _passed(self, course: Course) -> list[int]:
        return [period.passed(course.step, course.samples, 0.0) for period in self.periods if not period.every.seconds]

    def seconds_left(self, now: float) -> float:
        """Until something is due by the clock."""
        ends = [(now // every + 1) * every for every in self.seconds]
        return min([*ends, *([self.budget] if self.budget is not None else [])], default=float("inf")) - now


class _Watch:
    """Says, after each update of the run's own process, whether it is time to rest."""

    def __init__(self, session: Session, start: Start, agenda: _Agenda) -> None:
        self.stop = session.stop
        self.began = time.perf_counter()
        self.left = agenda.seconds_left(start.seconds)
        self.updates = 0

    def __call__(self) -> bool:
        self.updates += 1
        spent = time.perf_counter() - self.began
        long_enough = spent >= SECONDS_TO_REST and self.updates >= LEAST_UPDATES
        return self.stop.code is not None or spent >= self.left or long_enough


def take_part(
    setup: Setup,
    state: TrainState,
    board: Board,
    start: Start,
    is_alone: bool,
    ends: Callable[[], bool],
    check: Callable[[], None],
) -> None:
    """Carries out updates as the board gives them, until it has none left.

    Args:
        setup, state: of this process; the weights are shared.
        board: says which update is next.
        start: where the run was at the last rest.
        is_alone: whether no other process takes part.
        ends: asked after each update, whether all are to rest.
        check: raises where the others are no more.
    """
    course, every = Course(setup, start), setup.settings.logging.every
    ticket = board.take(check)
    while ticket is not None:
        course.go_to(ticket.step)
        lr = course.rate()[1]
        place = course.place()
        if not is_alone:  # what a model draws at random belongs to the batch, whoever takes it
            torch.default_generator.manual_seed(derive(setup.seed, "default", place.epoch, place.offset))
        with stage("data"):
            batch = setup.feed.take(place, course.size())
        setup.backward.begin(batch, norm_wanted=logs(ticket.step + 1, every))
        with stage("optimizer"):
            state.optimizer.step(setup.backward, lr)
        assert setup.backward.loss is not None
        norm = setup.backward.gradient_norm
        ticket = board.hand_in(
            ticket, float(setup.backward.loss), 0.0 if norm is None else float(norm), lr, check, ends()
        )


@dataclass(frozen=True)
class HelpersTask:
    """What a helper needs to know.

    Attributes:
        place: its number among the processes, from 2.
        parent: the process id of the run's own process.
        memory: of its optimizer, packed; empty at the beginning of a run.
    """

    run: RunSpec
    network: SharedNetwork
    board: Board
    place: int
    threads: int
    parent: int
    memory: bytes


def help_out(connection: Connection, task: HelpersTask) -> None:
    """The life of a helper, until the connection closes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group; the run's process decides
        signal.signal(number, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # the run's own process tells the same
    try:
        _help(connection, task)
    except (EOFError, BrokenPipeError, ConnectionError):
        return
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        is_known = isinstance(error, NnoptError)
        message = reason if is_known else f"{type(error).__name__}: {reason}"
        trace = None if is_known else traceback.format_exc()
        try:
            connection.send((FAILED, (message, trace)))
        except OSError:
            return


def _help(connection: Connection, task: HelpersTask) -> None:
    setup, state = build(task.run, DataCache(), task.threads)
    task.network.take_over(setup.parameters, state.model)
    if task.memory:
        state.optimizer.load_state_dict(_unpacked(task.memory))

    def check() -> None:
        if os.getppid() != task.parent:
            raise EOFError

    def ends() -> bool:
        check()
        return False

    connection.send((READY, b""))
    while True:
        asked = connection.recv()
        if asked == MEMORY:
            connection.send((MEMORY, _packed(state.optimizer.state_dict())))
        else:
            take_part(setup, state, task.board, asked, False, ends, check)
            connection.send((DONE, b""))


def _send(helper: _Helper, message: Any) -> None:
    """A helper that is no more is noticed as one listens to it."""
    try:
        helper.connection.send(message)
    except OSError:
        return


def _packed(memory: dict[str, Any] | None) -> bytes:
    """Tensors as bytes of their own: those of a message would be shared, and change while they are written down."""
    if memory is None:
        return b""
    buffer = io.BytesIO()
    torch.save(memory, buffer)
    return buffer.getvalue()


def _unpacked(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True) if content else None
