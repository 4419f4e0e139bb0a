"""The processes of one run on this machine: started together, listened to, and ended together."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from nnopt.errors import Interrupted, NnoptError, TrainingError
from nnopt.plan import RunSpec
from nnopt.scale.forks import become, context
from nnopt.scale.sender import Sender
from nnopt.store.files import make_folder, write_json
from nnopt.store.lock import RunLock, wait_until_free
from nnopt.store.place import make_way, place
from nnopt.store.record import FINISHED, SUMMARY, RunRecord
from nnopt.surroundings import Surroundings
from nnopt.train.devices import find_device
from nnopt.train.listener import Listener
from nnopt.train.output import RunLog
from nnopt.train.parallel.kinds import processes_of
from nnopt.train.parallel.team import Team, membership
from nnopt.train.runner import Workshop, run_one
from nnopt.train.session import Cut
from nnopt.train.setup import DataCache
from nnopt.train.signals import no_interrupts, stop_requests

ENDED = "member ended"  # the word by which a process says that it is through
GRACE = 10.0  # seconds that the others have to end by themselves once one is lost
LAST_WORDS = 4000  # characters of what a lost process wrote to stderr


def wants_group(run: RunSpec) -> int:
    """How many processes of this machine are to be started for a run; 1: none besides the one that asks."""
    if not Team.here().is_alone or run.settings.parallel is None:
        return 1
    return processes_of(run.settings.parallel, find_device(run.settings.device))


def train_in_group(run: RunSpec, shop: Workshop, fresh: bool, cut: Cut | None, size: int) -> RunRecord:
    """As `run_one`, by `size` processes; a lost one is replaced `shop.max_restarts` times, from the checkpoint.

    Raises:
        NnoptError: as `run_one`.
    """
    if fresh:
        make_way(run, shop.runs_dir)
    most, restart = shop.max_restarts, 0
    while True:
        with tempfile.TemporaryDirectory(prefix="nnopt-group-") as folder:
            group = _Group(run, shop, cut, size, Path(folder))
            lost = group.train()
            if lost is None:
                return group.record()
            if restart == most:
                return _mark_failed(run, shop, f"{lost}; run the same command again to resume it", group.last_words())
        restart += 1
        shop.listener.note(run.label, f"{lost}: going on from the checkpoint ({restart} of {most})")
        wait_until_free(place(run, shop.runs_dir).folder, GRACE)


def _mark_failed(run: RunSpec, shop: Workshop, reason: str, last_words: str) -> RunRecord:
    """Writes in a run's folder how it ended, as its own processes could not."""
    found = place(run, shop.runs_dir).found
    if found is None:
        raise TrainingError(f"{run.label}: {reason} before it began")
    wait_until_free(found.folder, GRACE)
    with RunLock(found.folder):
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(found.folder / SUMMARY, {**found.summary, "status": "failed", "reason": reason, "ended": ended})
        RunLog(found.folder).write(f"failed: {reason}{last_words}")
    shop.listener.ended(run.label, "failed", reason)
    return RunRecord.read(found.folder)


@dataclass
class _Member:
    rank: int
    process: BaseProcess
    connection: Connection
    has_ended: bool = False
    status: str = ""
    error: tuple[int, str] | None = None
    was_killed: bool = False  # by us, as another was lost

    @property
    def is_over(self) -> bool:
        return self.has_ended or not self.process.is_alive()

    def how_it_died(self) -> str:
        """In words."""
        code = self.process.exitcode or 0
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


@dataclass
class _Group:
    run: RunSpec
    shop: Workshop
    cut: Cut | None
    size: int
    folder: Path  # where they meet, and where what they write to stderr goes
    members: list[_Member] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)  # label, status and reason, as the lead has them
    failed: list[_Member] = field(default_factory=list)  # in the order in which they said so

    def train(self) -> str | None:
        """Trains until all processes have ended; in words which was lost, None where none was.

        Raises:
            NnoptError: what ended the run besides, as `run_one` raises it.
        """
        make_folder(self.folder)
        self.members = [self._start(rank) for rank in range(self.size)]
        try:
            self._listen()
        finally:
            for member in self.members:
                if member.process.is_alive():
                    member.process.kill()
                member.process.join()
                member.connection.close()
        return self._what_was_lost()

    def _start(self, rank: int) -> _Member:
        way = context()
        ours, theirs = way.Pipe()
        shop = self.shop
        seat = _Seat(
            *(self.run, self.cut, rank, self.size, self.folder, shop.runs_dir),
            *(shop.most_threads, shop.profile, Surroundings.whole()),
        )
        process = way.Process(target=_take_part, args=(theirs, seat))
        with no_interrupts():
            process.start()
        theirs.close()
        return _Member(rank, process, ours)

    def _listen(self) -> None:
        """Passes on what the lead says, until all have ended or, once one was lost, had their time to."""
        told_to_stop, until = False, float("inf")
        while not all(member.is_over for member in self.members) and time.monotonic() < until:
            if self.shop.stop.code is not None and not told_to_stop:
                self.members[0].process.terminate()  # the others go by its word
                told_to_stop = True
            open_ones = {member.connection: member for member in self.members if not member.has_ended}
            for ready in wait(list(open_ones), timeout=0.2):
                self._hear(open_ones[ready])  # type: ignore[index]
            is_bad = any(m.is_over and (not m.has_ended or m.error or m.status == "failed") for m in self.members)
            if is_bad and until == float("inf"):
                until = time.monotonic() + GRACE
        for member in self.members:
            while not member.has_ended and member.connection.poll():  # it said so and was gone at once
                if not self._hear(member):
                    break
            member.was_killed = not member.is_over

    def _hear(self, member: _Member) -> bool:
        """Takes in what a process says; False where it will say no more."""
        try:
            name, *words = member.connection.recv()
        except (EOFError, ConnectionError):
            member.process.join(timeout=GRACE)
            return False
        if name == ENDED:
            member.has_ended = True
            member.status, member.error = words
            if member.error or member.status == "failed":
                self.failed.append(member)
        elif name == "ended":  # passed on once it is known that nothing else ended it
            self.ended = words
        else:
            getattr(self.shop.listener, name)(*words)
        return True

    def _what_was_lost(self) -> str | None:
        lead = self.members[0]
        if lead.status in FINISHED:
            return None
        lost = [member for member in self.members if not member.has_ended and not member.was_killed]
        if self.shop.stop.code is not None and (lead.error is not None or not lost):
            self._pass_on_the_end()
            raise Interrupted(self.shop.stop.code)
        if lead.error is not None:
            problem = NnoptError(lead.error[1])
            problem.exit_code = lead.error[0]
            raise problem
        if lost:
            return f"process {lost[0].rank} of {self.size} was lost ({lost[0].how_it_died()})"
        return None

    def _pass_on_the_end(self) -> None:
        if self.ended:
            self.shop.listener.ended(*self.ended)

    def record(self) -> RunRecord:
        """The run as its processes left it."""
        found = place(self.run, self.shop.runs_dir).found
        first = self.failed[0] if self.failed else None
        if found is None or (first is not None and first.error is not None):
            reason = first.error[1] if first is not None and first.error else "its processes wrote nothing"
            return _mark_failed(self.run, self.shop, reason, self.last_words())
        self._pass_on_the_end()
        return found

    def last_words(self) -> str:
        """What the processes wrote to stderr, for run.log."""
        texts = [(member.rank, _stderr(self.folder, member.rank)) for member in self.members]
        told = [(rank, file.read_text(errors="replace")[-LAST_WORDS:]) for rank, file in texts if file.exists()]
        return "".join(f"\nprocess {rank} wrote:\n{text}" for rank, text in told if text.strip())


def _stderr(folder: Path, rank: int) -> Path:
    return folder / f"stderr-{rank}"


@dataclass(frozen=True)
class _Seat:
    """What one of the processes has to know."""

    run: RunSpec
    cut: Cut | None
    rank: int
    size: int
    folder: Path
    runs_dir: Path
    most_threads: int | None
    profile: bool
    surroundings: Surroundings


def _take_part(connection: Connection, seat: _Seat) -> None:
    """The life of one process of a group."""
    become(seat.surroundings)
    with _stderr(seat.folder, seat.rank).open("w") as file:
        os.dup2(file.fileno(), 2)
    with stop_requests() as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent passes it on once
        sender = Sender(connection, stop) if seat.rank == 0 else Listener()
        shop = Workshop(seat.runs_dir, DataCache(), sender, stop, seat.most_threads, seat.profile)
        try:
            meeting = f"file://{seat.folder / 'meeting'}"
            with membership(seat.rank, seat.size, seat.rank, meeting, find_device(seat.run.settings.device)):
                connection.send((ENDED, *_train(seat, shop)))  # before the others notice that one leaves
        except NnoptError as problem:
            connection.send((ENDED, "", (problem.exit_code, str(problem))))


def _train(seat: _Seat, shop: Workshop) -> tuple[str, tuple[int, str] | None]:
    """How the run ended for one process: its status, and what was raised."""
    try:
        return run_one(seat.run, shop, cut=seat.cut).status, None
    except NnoptError as problem:
        return "", (problem.exit_code, str(problem))
