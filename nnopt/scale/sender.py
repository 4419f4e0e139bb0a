"""What a worker's training says, sent to the process that listens."""

from __future__ import annotations

import signal
from typing import Any, Protocol

from nnopt.train.listener import Listener, Moment
from nnopt.train.signals import StopRequest


class Line(Protocol):
    """An end of what a worker and its crew talk over."""

    def send(self, message: Any) -> None:
        """Says something; an OSError where nobody listens any more."""

    def recv(self) -> Any:
        """The next message; an EOFError where none will come."""


class Sender(Listener):
    """Sends what a worker's training says to the process that listens."""

    def __init__(self, connection: Line, stop: StopRequest) -> None:
        self.connection = connection
        self.stop = stop

    def send(self, *words: Any) -> None:
        """Sends a message; where nobody listens any more, asks the run to stop at a checkpoint."""
        try:
            self.connection.send(words)
        except OSError:
            self.stop.code = self.stop.code or 128 + signal.SIGTERM

    def skipped(self, label: str, status: str) -> None:
        """As the base class says."""
        self.send("skipped", label, status)

    def started(self, label: str, from_step: int) -> None:
        """As the base class says."""
        self.send("started", label, from_step)

    def moment(self, label: str, moment: Moment) -> None:
        """As the base class says."""
        self.send("moment", label, moment)

    def row(self, label: str, row: dict[str, Any]) -> None:
        """As the base class says."""
        self.send("row", label, row)

    def note(self, label: str, text: str) -> None:
        """As the base class says."""
        self.send("note", label, text)

    def ended(self, label: str, status: str, reason: str) -> None:
        """As the base class says."""
        self.send("ended", label, status, reason)
