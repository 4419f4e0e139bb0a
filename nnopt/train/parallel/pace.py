"""The time and the stop requests that a run goes by: where several processes train it, those of the lead.

An update ends the same way in all processes only if they decide alike. What depends on a clock or on a signal is
therefore the lead's to say, and it says so between updates, about five times a second: more often would cost more,
as the others wait for each word.
"""

from __future__ import annotations

import time

from nnopt.errors import Interrupted
from nnopt.train.clock import Clock
from nnopt.train.parallel.team import Team
from nnopt.train.signals import StopRequest

SECONDS = 0.2  # between two words of the lead
MOST_UPDATES = 1000


class Pace:
    """The clock and the stop requests of a process by itself."""

    def __init__(self, clock: Clock, stop: StopRequest) -> None:
        self.clock = clock
        self.stop = stop

    def look(self, step: int) -> None:
        """Hears what the lead says, should it be time; called after `step` updates."""

    def now(self) -> float:
        """Training seconds up to now."""
        return self.clock.read()

    @property
    def is_stopped(self) -> bool:
        """Whether a signal asked to stop."""
        return self.stop.code is not None

    def raise_if_stopped(self) -> None:
        """Raises Interrupted once a signal asked to stop."""
        self.stop.raise_if_set()


class SharedPace(Pace):
    """What the lead last said."""

    def __init__(self, clock: Clock, stop: StopRequest, team: Team) -> None:
        super().__init__(clock, stop)
        self.team = team
        self._now = 0.0
        self._code = 0
        self._next = -1  # the step at which the lead speaks again
        self._before: tuple[int, float] | None = None

    def look(self, step: int) -> None:
        """As Pace says."""
        if step < self._next:
            return
        word = [self.clock.read(), float(self.stop.code or 0), float(self._updates_till_then(step))]
        self._now, code, updates = self.team.told_numbers(word)
        self._code, self._next = int(code), step + int(updates)

    def _updates_till_then(self, step: int) -> int:
        """How many updates SECONDS take, by those since the last word."""
        before, self._before = self._before, (step, time.perf_counter())
        if before is None or step <= before[0]:
            return 1
        rate = (step - before[0]) / max(self._before[1] - before[1], 1e-9)
        return min(MOST_UPDATES, max(1, int(rate * SECONDS)))

    def now(self) -> float:
        """As Pace says."""
        return self._now

    @property
    def is_stopped(self) -> bool:
        """As Pace says."""
        return self._code != 0

    def raise_if_stopped(self) -> None:
        """As Pace says."""
        if self._code:
            raise Interrupted(self._code)


def pace_of(team: Team, clock: Clock, stop: StopRequest) -> Pace:
    """The pace of this process."""
    return Pace(clock, stop) if team.is_alone else SharedPace(clock, stop, team)
